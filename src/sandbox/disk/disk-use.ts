import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import type { LookCause } from './disk-pace.ts';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/** The disk use of a folder. */
export interface DiskUse {
  readonly bytes: number;
  /** Files, folders and everything else with an inode. */
  readonly entries: number;
}

/** The limits of a folder's disk use. 0 means no limit. */
export type DiskLimits = DiskUse;

// Shell commands that measure the folders `$@` and print a line for each. `du` and `find` walk by file descriptors and
// follow no symbolic links, so they are safe while a tool's code changes a folder. Files that vanish meanwhile do not
// matter. If a tool moves a folder while `du` or `find` is below it, that program stops walking, and prints no line for
// the folder in `$@`: `find` prints it only at the end (`-depth`). Other programs would print a number that is too
// small.
const BYTES = 'du -skx "$@"';
const ENTRIES = `find "$@" -xdev -depth -printf '%d %H\\n' | awk '
  { top = substr($0, index($0, " ") + 1); count[top]++ }
  $1 == 0 { print count[top], top }'`;

/**
 * Several folders are first measured together, for at most `TOGETHER_SECONDS`. If that takes longer, or if there is one
 * folder only, each is measured alone, for at most `ALONE_SECONDS`. Without these limits, one tool could hold up the
 * measurement for all tools: a program that looks for a name in a folder must wait while another program renames files
 * there. A tool can hold the lock of a folder for minutes, so each measurement lasts at most `LOW_SECONDS` once the
 * disk is nearly full. If folders are measured alone, the server starts `AT_ONCE` measurements at the same time, then
 * as many more after a moment, and so on.
 */
const [TOGETHER_SECONDS, ALONE_SECONDS, LOW_SECONDS, AT_ONCE] = [10, 20, 2, 16];
const TOGETHER = `seconds=$1 measure=$2; shift 2
all=$(timeout $seconds /bin/sh -c "$measure" sh "$@")
[ $? = 124 ] && exit 1
printf '%s\\n' "$all"; times`;
const ALONE = `seconds=$1 measure=$2 count=0; shift 2
for folder; do
  count=$((count + 1))
  [ $((count % ${AT_ONCE})) = 0 ] && sleep 0.1
  ( one=$(timeout $seconds /bin/sh -c "$measure" sh "$folder"); [ $? = 124 ] || printf '%s\\n' "$one" ) &
done
wait; times`;

/** Measures the disk use of a folder that no program changes. */
export async function diskUse(folder: string, signal: AbortSignal): Promise<DiskUse> {
  const measure = async (script: string) => await counts('/bin/sh', ['-c', script, 'sh', folder], signal);
  const [bytes, entries] = await Promise.all([measure(BYTES), measure(ENTRIES)]);
  return { bytes: (bytes[0]?.count ?? 0) * 1024, entries: entries[0]?.count ?? 0 };
}

/** What a measurement of several folders found, and what it cost. */
export interface FolderUses {
  /** For each folder, by its path: how many bytes it has on the disk. Null if only entries were measured. */
  readonly bytes: ReadonlyMap<string, number> | null;
  /**
   * For each folder, by its path: how many files and folders it has, itself included. Null if only bytes were measured.
   */
  readonly entries: ReadonlyMap<string, number> | null;
  /** The processor time of the measurement, in milliseconds. */
  readonly processorMs: number;
}

/**
 * Measures the disk use of folders while programs change them. If `cause` is `bytes` or `entries`, measures only these.
 * The result leaves out folders that do not exist, and folders whose measurement a program prevents by moving files and
 * folders or by holding the lock of a folder (`Misses`).
 *
 * @param low - Fires when the disk is nearly full. The measurement then ends soon.
 */
export async function usesOf(
  folders: readonly string[],
  cause: LookCause,
  { signal, low }: { readonly signal: AbortSignal; readonly low: AbortSignal },
): Promise<FolderUses> {
  const [bytes, entries] = await Promise.all([
    cause === 'entries' ? null : inTime(BYTES, folders, { signal, low }),
    cause === 'bytes' ? null : inTime(ENTRIES, folders, { signal, low }),
  ]);
  return {
    bytes: bytes && new Map(bytes.lines.map(({ count, path }) => [path, count * 1024])),
    entries: entries && new Map(entries.lines.map(({ count, path }) => [path, count])),
    processorMs: (bytes?.processorMs ?? 0) + (entries?.processorMs ?? 0),
  };
}

async function inTime(
  measure: string,
  folders: readonly string[],
  signals: { readonly signal: AbortSignal; readonly low: AbortSignal },
): Promise<{ readonly lines: Counted[]; readonly processorMs: number }> {
  if (folders.length === 0) return { lines: [], processorMs: 0 };
  const run = async (script: string, usual: number) => {
    const seconds = signals.low.aborted ? LOW_SECONDS : usual;
    const argv = ['-c', script, 'sh', String(seconds), measure, ...folders];
    return await outputOf('/bin/sh', argv, { ...signals, seconds });
  };
  const together = folders.length === 1 ? null : await run(TOGETHER, TOGETHER_SECONDS);
  const { output } = together?.isWhole ? together : await run(ALONE, ALONE_SECONDS);
  // `times` has printed the last line, see POSIX: the user time and the system time of all programs that have ended.
  const [user, system] = [...(output.split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds),
  );
  return { lines: countedIn(output), processorMs: ((user ?? 0) + (system ?? 0)) * 1000 };
}

/**
 * The processes of a tool must end if at least `MAX_MISSES` more measurements of their folder have failed than
 * succeeded, and the first of these failures is at least `MISSES_MS` milliseconds ago.
 */
const [MAX_MISSES, MISSES_MS] = [3, 10_000];

/**
 * Counts how many more measurements of one folder have failed than succeeded. A measurement fails if a program moves
 * files and folders in it all the time, or if the machine is slow. Honest programs rarely move a folder just when it is
 * measured.
 */
export class Misses {
  readonly #now: () => number;
  #count = 0;
  #since = 0;

  /** @param now - Returns the time in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Records whether a measurement of the folder has failed. @returns true if the program that changes the folder must
   * end.
   */
  add(isMissed: boolean): boolean {
    if (isMissed && this.#count === 0) this.#since = this.#now();
    this.#count = Math.max(0, this.#count + (isMissed ? 1 : -1));
    return this.#count >= MAX_MISSES && this.#now() - this.#since >= MISSES_MS;
  }
}

/** Runs `du` with these arguments, see du(1). @returns the lines that `du` prints. */
export async function du(argv: readonly string[], signal: AbortSignal): Promise<Counted[]> {
  return await counts('du', argv, signal);
}

interface Counted {
  readonly count: number;
  readonly path: string;
}

async function counts(command: string, argv: readonly string[], signal: AbortSignal): Promise<Counted[]> {
  const { output } = await outputOf(command, argv, { signal });
  return countedIn(output);
}

/**
 * Returns what a command prints. Waits for the command at most `seconds`, or `LOW_SECONDS` once `low` fires, and one
 * second more. Then returns although the command still runs: a program that waits in the kernel for the lock of a
 * folder cannot be ended. Without `seconds`, waits until the command ends.
 *
 * @returns `isWhole`: whether the command has succeeded.
 */
async function outputOf(
  command: string,
  argv: readonly string[],
  limits: { readonly signal: AbortSignal; readonly low?: AbortSignal; readonly seconds?: number },
): Promise<{ readonly output: string; readonly isWhole: boolean }> {
  const { signal, low, seconds } = limits;
  const [program = '', ...words] = [...(await asOwner()), command, ...argv];
  const running = execa(program, words, {
    env: environment,
    extendEnv: false,
    cancelSignal: signal,
    reject: false,
    stdin: 'ignore',
    stderr: 'ignore',
    maxBuffer: 16 * 1024 * 1024,
  });
  if (seconds === undefined) {
    const { stdout, exitCode } = await running;
    signal.throwIfAborted();
    return { output: stdout, isWhole: exitCode === 0 };
  }
  const pieces: Buffer[] = [];
  running.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  const result = await Promise.race([running, untilLate(seconds, low, running)]);
  signal.throwIfAborted();
  if (result === null) running.kill();
  return { output: Buffer.concat(pieces).toString().trimEnd(), isWhole: result?.exitCode === 0 };
}

/** Resolves after the time that `outputOf` waits for the command, or when `running` (the command) has ended. */
async function untilLate(
  seconds: number,
  low: AbortSignal | undefined,
  running: Promise<unknown>,
): Promise<null> {
  const ended = new AbortController();
  void running.then(() => ended.abort());
  const pause = (length: number) => wait((length + 1) * 1000, null, { signal: ended.signal, ref: false });
  const hurried = async () => {
    if (low === undefined) return await pause(seconds);
    if (!low.aborted) await once(low, 'abort', { signal: ended.signal });
    return await pause(LOW_SECONDS);
  };
  return await Promise.race([pause(seconds), hurried()]).catch(() => null);
}

function countedIn(output: string): Counted[] {
  return output.split('\n').flatMap((line) => {
    const [, count, path] = /^ *(\d+)[\t ](.*)$/.exec(line) ?? [];
    return count === undefined || path === undefined ? [] : [{ count: Number(count), path }];
  });
}

const AS_OWNER = ['unshare', '--user', '--map-root-user', '--'] as const;
let prefix: Promise<readonly string[]> | null = null;

/**
 * Returns words to put before a command, so that the command can read folders that a tool has made unreadable. If the
 * server is root of the machine or of a user namespace, no words are needed. Otherwise, tools run as the server's user,
 * and the words run the command as root of a new user namespace. This root may read all folders of the server's user.
 * If this machine allows no such namespace, returns no words.
 */
function asOwner(): Promise<readonly string[]> {
  prefix ??= process.getuid?.() === 0 ? Promise.resolve([]) : findAsOwner();
  return prefix;
}

async function findAsOwner(): Promise<readonly string[]> {
  const [program, ...words] = AS_OWNER;
  const options = { env: environment, extendEnv: false, stdio: 'ignore', reject: false } as const;
  const tried = await execa(program, [...words, 'true'], options);
  if (tried.exitCode === 0) return AS_OWNER;
  // Try `unshare` again at the next measurement, because it may have failed only this time.
  prefix = null;
  return [];
}
