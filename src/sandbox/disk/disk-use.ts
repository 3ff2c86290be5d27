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

// Shell commands that measure the folders `$@`, a line for each. `du` and `find` walk by file descriptors and follow no
// symbolic links, so they are safe while a tool's code changes a folder. Files that vanish meanwhile do not matter. But if
// a folder is moved while they are below it, they leave the walk. `du` then prints no line for the whole, and `find`
// does not come back to the top (`-depth`). Other programs for this purpose count the files that they have found.
const BYTES = 'du -skx "$@"';
const ENTRIES = `find "$@" -xdev -depth -printf '%d %H\\n' | awk '
  { top = substr($0, index($0, " ") + 1); count[top]++ }
  $1 == 0 { print count[top], top }'`;

/**
 * Several folders are first measured together, for at most `TOGETHER_SECONDS`. If that takes longer, or if there is one
 * folder only, each is measured alone, for at most `ALONE_SECONDS`, and `AT_ONCE` folders at the same time. Without these
 * limits, one tool could hold up the measurement for all tools: a program that looks for a name in a folder must wait
 * while another program renames files there.
 */
const [TOGETHER_SECONDS, ALONE_SECONDS, AT_ONCE] = [10, 20, 16];
const IN_TIME = `measure=$1; shift
if [ $# -gt 1 ]; then
  all=$(timeout ${TOGETHER_SECONDS} /bin/sh -c "$measure" sh "$@")
  [ $? = 124 ] || { printf '%s\\n' "$all"; times; exit; }
fi
count=0
for folder; do
  ( one=$(timeout ${ALONE_SECONDS} /bin/sh -c "$measure" sh "$folder"); [ $? = 124 ] || printf '%s\\n' "$one" ) &
  count=$((count + 1))
  [ $((count % ${AT_ONCE})) = 0 ] && wait
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
  /** The bytes on disk by the path of the folder. Null if only entries were measured. */
  readonly bytes: ReadonlyMap<string, number> | null;
  /** The files and folders, with the folder itself, by its path. Null if only bytes were measured. */
  readonly entries: ReadonlyMap<string, number> | null;
  /** The processor time of the measurement, in milliseconds. */
  readonly processorMs: number;
}

/**
 * Measures the disk use of folders while programs change them. If `cause` is `bytes` or `entries`, measures only these.
 * The result leaves out folders that do not exist, and folders whose measurement a program prevents by moving files and
 * folders (`Misses`).
 */
export async function usesOf(
  folders: readonly string[],
  cause: LookCause,
  signal: AbortSignal,
): Promise<FolderUses> {
  const [bytes, entries] = await Promise.all([
    cause === 'entries' ? null : inTime(BYTES, folders, signal),
    cause === 'bytes' ? null : inTime(ENTRIES, folders, signal),
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
  signal: AbortSignal,
): Promise<{ readonly lines: Counted[]; readonly processorMs: number }> {
  if (folders.length === 0) return { lines: [], processorMs: 0 };
  const output = await outputOf('/bin/sh', ['-c', IN_TIME, 'sh', measure, ...folders], signal);
  // The last line is of `times`, see POSIX: the user time and the system time of all programs that have ended.
  const [user, system] = [...(output.split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds),
  );
  return { lines: countedIn(output), processorMs: ((user ?? 0) + (system ?? 0)) * 1000 };
}

/** A program has to end after so many misses more than hits, if the first miss is so many milliseconds ago. */
const [MAX_MISSES, MISSES_MS] = [3, 10_000];

/**
 * Counts how many more measurements have missed a folder than measured it, because a program moves files and folders in
 * it all the time, or because the machine is slow. Honest programs move a folder rarely just when it is measured.
 */
export class Misses {
  readonly #now: () => number;
  #count = 0;
  #since = 0;

  /** @param now - Returns the time in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Records whether a measurement missed the folder. @returns true if the program must end. */
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
  return countedIn(await outputOf(command, argv, signal));
}

async function outputOf(command: string, argv: readonly string[], signal: AbortSignal): Promise<string> {
  const [program = '', ...words] = [...(await asOwner()), command, ...argv];
  const result = await execa(program, words, {
    env: environment,
    extendEnv: false,
    cancelSignal: signal,
    reject: false,
    stdin: 'ignore',
    stderr: 'ignore',
    maxBuffer: 16 * 1024 * 1024,
  });
  signal.throwIfAborted();
  return result.stdout;
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
