import { execa } from 'execa';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/** The disk use of a folder. */
export interface DiskUse {
  readonly bytes: number;
  /** Files, folders and everything else with an inode. */
  readonly entries: number;
}

/** The limits of a folder's disk use. 0 means no limit. */
export type DiskLimits = DiskUse;

/**
 * Measures the disk use of a folder. `du` and `find` walk by file descriptors and follow no symbolic links, so they are
 * safe while a tool's code changes the folder. Files that vanish during the measurement do not matter.
 */
export async function diskUse(folder: string, signal: AbortSignal): Promise<DiskUse> {
  const [bytes, entries] = await Promise.all([bytesOf([folder], signal), entriesOf([folder], signal)]);
  return { bytes: bytes.get(folder) ?? 0, entries: entries.get(folder) ?? 0 };
}

/** Returns how many bytes each folder takes on disk. The result leaves out folders that do not exist. */
export async function bytesOf(folders: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
  if (folders.length === 0) return new Map();
  const lines = await du(['-s', '-k', '-x', ...folders], signal);
  return new Map(lines.map(({ count, path }) => [path, count * 1024]));
}

/**
 * Counts the files and folders below each folder, including the folder itself. The result leaves out folders that do
 * not exist. Takes a quarter of the time of `du --inodes`.
 */
export async function entriesOf(
  folders: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, number>> {
  if (folders.length === 0) return new Map();
  const script = 'find "$@" -xdev -printf "%H\\n" | uniq -c';
  const lines = await counts('/bin/sh', ['-c', script, 'sh', ...folders], signal);
  return new Map(lines.map(({ count, path }) => [path, count]));
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
  return result.stdout.split('\n').flatMap((line) => {
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
