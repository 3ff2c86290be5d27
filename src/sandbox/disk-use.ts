import { execa } from 'execa';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

/** What a folder takes of a disk. */
export interface DiskUse {
  readonly bytes: number;
  /** Files, folders and whatever else has an inode. */
  readonly entries: number;
}

/** The most that something may take of a disk; 0 = no limit. */
export type DiskLimits = DiskUse;

/**
 * What everything below a folder takes on disk. `du` and `find` walk by file descriptors and follow no symbolic link,
 * so they can be asked while a stranger's code works in there; files that vanish meanwhile do not matter.
 */
export async function diskUse(folder: string, signal: AbortSignal): Promise<DiskUse> {
  const [bytes, entries] = await Promise.all([bytesOf([folder], signal), entriesOf([folder], signal)]);
  return { bytes: bytes.get(folder) ?? 0, entries: entries.get(folder) ?? 0 };
}

/** The bytes on disk of each folder that is there. */
export async function bytesOf(folders: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
  if (folders.length === 0) return new Map();
  const lines = await du(['-s', '-k', '-x', ...folders], signal);
  return new Map(lines.map(({ count, path }) => [path, count * 1024]));
}

/** The number of names in each folder that is there, itself included: a quarter of the work of `du --inodes`. */
export async function entriesOf(
  folders: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, number>> {
  if (folders.length === 0) return new Map();
  const script = 'find "$@" -xdev -printf "%H\\n" | uniq -c';
  const lines = await counts('/bin/sh', ['-c', script, 'sh', ...folders], signal);
  return new Map(lines.map(({ count, path }) => [path, count]));
}

/** What `du` says of each place, by its arguments: see du(1). */
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
 * What lets a program read folders that a tool has closed against its own user, which is the server's unless that is
 * root: in a user namespace of its own, a user is root over what is theirs.
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
  // It may work the next time.
  prefix = null;
  return [];
}
