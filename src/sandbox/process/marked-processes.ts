import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  argumentsOf,
  environmentOf,
  mentions,
  namespaceIds,
  processIds,
  signal,
  untilGone,
} from './process-table.ts';
import { outputOfShell } from './shell.ts';

/** The environment variable that marks all processes of servers with the same data folder. */
export const INSTANCE_VARIABLE = 'TOOLFORGE_PUSH_INSTANCE';
/** The environment variable that marks all processes of one start of a sandbox. */
export const PROCESS_VARIABLE = 'TOOLFORGE_PUSH_PROCESS';

/**
 * Returns the id of a data folder: the same at every start and for every spelling of its path. The folder must exist.
 */
export function instanceId(dataFolder: string): string {
  return createHash('sha256').update(realpathSync(dataFolder)).digest('hex').slice(0, 32);
}

/**
 * Finds the processes with a mark: a variable in their environment or, for bwrap, the arguments `--setenv NAME VALUE`.
 * Compares whole values, so that a server never takes the processes of another server for its own.
 */
export function markedProcesses(name: string, value: string): number[] {
  return processIds().filter((pid) => pid !== process.pid && isMarked(pid, name, value));
}

/**
 * Finds the same processes as `markedProcesses`. Works in short turns, so that the server stays responsive: a tool may
 * have thousands of processes.
 */
async function markedInTurns(name: string, value: string): Promise<number[]> {
  const found: number[] = [];
  for (const [index, pid] of processIds().entries()) {
    if (index % PROCESSES_A_TURN === 0) await nextTurn();
    if (pid !== process.pid && isMarked(pid, name, value)) found.push(pid);
  }
  return found;
}

const PROCESSES_A_TURN = 50;

function isMarked(pid: number, name: string, value: string): boolean {
  const ids = namespaceIds(pid);
  // If a process is in a sandbox, it counts as marked only if it is the sandbox's first process. The other processes
  // run a tool's code, which could fake the environment variable that is the mark, or hold the lock under which the
  // kernel reads their arguments and environment.
  if (ids.length > 1 && ids.at(-1) !== 1) return false;
  // Most processes do not have the variable, and `mentions` is the quickest way to find that out.
  if (!mentions(pid, value)) return false;
  const argv = argumentsOf(pid);
  const isInArguments = argv.some(
    (word, index) => word === '--setenv' && argv[index + 1] === name && argv[index + 2] === value,
  );
  return isInArguments || environmentOf(pid).includes(`${name}=${value}`);
}

// After 2 s, `timeout` sends SIGTERM. This also ends a grep that waits for a lock of the process whose environment it
// reads. With SIGKILL, `timeout` would also kill itself, and xargs would stop.
const SIGNAL_MARKED = `entry=$1 name=$2; shift 2
printf '/proc/%s/environ\\0' "$@" | xargs -0 -n 1 -P 8 timeout 2 grep -lzsFx --line-buffered -e "$entry" |
  while IFS=/ read -r _ _ pid _; do kill -s "$name" "$pid"; done`;

/**
 * Sends a signal to those of the processes `pids` that were started with this environment variable. A tool can fake the
 * variable, so `pids` may have only processes to which the tool itself may send signals. The kernel reads the
 * environment of a process under a lock that the process can hold for minutes, so other programs than this server read
 * it. A process whose environment cannot be read within 2 s gets no signal.
 */
export async function signalMarkedAmong(
  pids: readonly number[],
  [variable, value]: readonly [string, string],
  name: NodeJS.Signals,
): Promise<void> {
  if (pids.length === 0) return;
  await outputOfShell(SIGNAL_MARKED, [`${variable}=${value}`, name.slice('SIG'.length), ...pids.map(String)]);
}

/** Ends everything that an earlier server with this data folder left running: tools, builds, git. */
export async function endLeftovers(dataFolder: string): Promise<void> {
  await endMarked(INSTANCE_VARIABLE, instanceId(dataFolder));
}

/**
 * Kills all processes with this mark (see `markedProcesses`). Repeats this until no such process is left, because a
 * process may be forking.
 *
 * @returns an empty list if no process is left. Otherwise, after 5 s, the ids of the last processes that were found.
 * Only a stuck kernel causes this.
 */
export async function endMarked(name: string, value: string): Promise<number[]> {
  const end = performance.now() + 5000;
  for (;;) {
    const pids = await markedInTurns(name, value);
    if (pids.length === 0) return [];
    for (const pid of pids) signal(pid, 'SIGKILL');
    await untilGone(pids, 1000);
    if (performance.now() > end) return pids;
  }
}
