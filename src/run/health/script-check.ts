import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import type { SandboxProcess } from '../../sandbox/sandbox.ts';
import type { Readiness } from './health-check.ts';

/**
 * How many seconds pass between two runs of a health check script, once it has passed. Toolforge uses the same number.
 */
export const SCRIPT_PERIOD_SECONDS = 10;
/**
 * If a health check script has passed, and later fails this many times in a row, its process is ended. Toolforge uses
 * the same number.
 */
export const SCRIPT_FAILURES = 3;
/** A health check script that runs for more seconds than this has failed. */
export const SCRIPT_SECONDS = 5;
const LOOK_MS = 200;
const UNTIL_MARKED = `until [ -L "$1" ] || [ -e "$1" ]; do sleep ${LOOK_MS / 1000}; done`;

/**
 * A shell script that starts checks in the background, and then becomes the command of the process. Each check runs the
 * health check script beside the process, so that the script sees the same files, ports and processes. The first check
 * that passes makes the file `mark`. After that, `SCRIPT_FAILURES` failed checks in a row end the process.
 *
 * Of the output of a failed check, at most the last five lines of the last 4,000 bytes are printed. A line that begins
 * before these bytes is left out, because half of a config var would not be masked. The output of a check goes to a
 * file, not to a pipe, because the reader of a pipe would also wait for programs that the check leaves running.
 *
 * The arguments are the health check script, the path of the file `mark`, and the command.
 */
const WITH_CHECKS = `
script=$1 mark=$2 main=$$; shift 2
check() {
  local status
  timeout -k 1 ${SCRIPT_SECONDS} bash -c "$script" >"$mark.said" 2>&1 </dev/null
  status=$?
  said=$(tail -c 4000 "$mark.said" | if (($(wc -c <"$mark.said") > 4000)); then tail -n +2; else cat; fi | tail -n 5)
  return $status
}
tell() { printf 'health_check_script failed%s: %s\\n' "$1" "$said"; }
checks() {
  local failed=0 last=- second
  until check; do
    [[ $said == "$last" ]] || tell ''
    last=$said
    sleep 1
    kill -0 "$main" || return
  done
  : >"$mark"
  while :; do
    for ((second = 0; second < ${SCRIPT_PERIOD_SECONDS}; second++)); do sleep 1; kill -0 "$main" || return; done
    if check; then failed=0; continue; fi
    failed=$((failed + 1))
    tell " ($failed of ${SCRIPT_FAILURES})"
    if ((failed == ${SCRIPT_FAILURES})); then kill -TERM "$main"; sleep 10; kill -KILL "$main"; return; fi
  done
}
(checks &)
exec "$@"
`;

/**
 * Returns a command that runs the command `argv`, and a health check script beside it.
 *
 * @param mark - The path, as the process sees it, of a file that does not exist yet. The file exists once the script
 * has passed.
 */
export function withScript(argv: readonly string[], script: string, mark: string): string[] {
  return ['bash', '-c', WITH_CHECKS, 'bash', script, mark, ...argv];
}

export interface ScriptCheck {
  readonly process: SandboxProcess;
  readonly name: string;
  /**
   * The path, on this machine, of the file that exists once the health check script has passed. The process may see the
   * file under another path.
   */
  readonly mark: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Waits until the health check script has passed once, the process exits, or `timeoutMs` is over. */
export async function untilScriptPasses(check: ScriptCheck): Promise<Readiness> {
  const { process, name, mark, timeoutMs, signal } = check;
  const exited = process.exited.then((exit) => ({ kind: 'exited' as const, exit }));
  const over = new AbortController();
  try {
    return await Promise.race([
      exited,
      untilMarked(mark, timeoutMs, over.signal),
      wait(timeoutMs, tooLate(name, timeoutMs), { signal: AbortSignal.any([signal, over.signal]) }),
    ]);
  } finally {
    over.abort();
  }
}

/**
 * Waits until the file `mark` exists. This server does not look for the file itself, but starts a program that does.
 * The reason: a tool can keep the folder of the file locked for minutes. While the folder is locked, a program that
 * looks for a name in it waits in the kernel, and cannot be ended. If four threads of this server waited there, the
 * server could do nothing else with files.
 */
async function untilMarked(mark: string, timeoutMs: number, over: AbortSignal): Promise<Readiness> {
  const seconds = String(Math.ceil(timeoutMs / 1000) + 1);
  for (;;) {
    const { exitCode } = await execa('timeout', [seconds, '/bin/sh', '-c', UNTIL_MARKED, 'sh', mark], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      extendEnv: false,
      stdio: 'ignore',
      reject: false,
      cancelSignal: over,
    });
    if (exitCode === 0) return { kind: 'healthy', remark: null };
    // Try again. The program that looks for the file `mark` has failed, perhaps because this machine had no free
    // process or memory for it.
    await wait(LOOK_MS, null, { signal: over });
  }
}

function tooLate(name: string, waitedMs: number): Readiness {
  const message = `the health_check_script of ${name} did not end with 0`;
  return { kind: 'timed-out', waitedMs, seen: { message, hint: SCRIPT_HINT, soFar: message } };
}

/** The hint for the person who pushed: what to do about a health check script that does not pass. */
export const SCRIPT_HINT =
  'The last output of the process and of the script is above. Correct the script or the process, and push again.';
