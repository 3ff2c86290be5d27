import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { execa } from 'execa';
import type { LookCause } from './disk-pace.ts';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };
/** A look is followed by so many times the time that it took. */
const REST = 4;
const BLOCK_BYTES = 512;

// By the id of a process, awk reads the folder that is mounted for it, then its files, and prints a sum for each folder.
// What is in memory (memfd_create) has another device. A process that maps a file can close it: only root may look at
// that, and a plain user gets an error. A process can have a million descriptors: what is not looked at within two
// seconds is not seen this time.
const SCRIPT = `device=$1; shift
owners=$(grep -oFH "$@" -- /proc/[0-9]*/mountinfo 2>/dev/null)
places=$(printf '%s\\n' "$owners" | awk -F / '$3 != "" && !seen[$3]++ { print "/proc/" $3 "/fd /proc/" $3 "/map_files" }')
[ -n "$places" ] || exit 0
{ printf '%s\\n' "$owners"
  timeout 2 find -L $places -maxdepth 1 -type f -links 0 -printf '%D %i %b %p\\n' 2>/dev/null
} | awk -F '[ /:]' -v device="$device" '
  $2 == "proc" { owner[$3] = $6; next }
  $1 == device && ($6 in owner) && !seen[$2]++ { sum[owner[$6]] += $3 }
  END { for (name in sum) print sum[name], name }'`;

/**
 * The bytes on disk of files without a name that processes hold open, or have mapped, for each folder that is mounted
 * for such a process. The folders are on one disk, and the last part of each path is unique.
 */
export async function hiddenBytesOf(folders: readonly string[]): Promise<Map<string, number>> {
  const [first] = folders;
  if (first === undefined) return new Map();
  const { dev } = await stat(dirname(first));
  const byName = new Map(folders.map((folder) => [basename(folder), folder]));
  const found = new Map<string, number>();
  for (const line of await linesOf(SCRIPT, [String(dev), ...wordsFor(folders)])) {
    const [blocks, name = ''] = line.split(' ');
    const folder = byName.get(name);
    if (folder !== undefined) found.set(folder, Number(blocks) * BLOCK_BYTES);
  }
  return found;
}

const QUEUES = `grep -oFH "$@" -- /proc/[0-9]*/mountinfo 2>/dev/null |
awk -F '[/:]' '!seen[$3]++ { print $3, $6 }' | while read -r pid name; do
  timeout 1 grep -rqsE '^scm_fds:[[:space:]]*[1-9]' "/proc/$pid/fdinfo" && echo "$name"
done`;

/**
 * The folders with a process for which open files wait in a socket (SCM_RIGHTS, unix(7)). Nobody sees what these take
 * of the disk. Programs pass files on in a moment.
 */
export async function foldersWithQueues(folders: readonly string[]): Promise<Set<string>> {
  if (folders.length === 0) return new Set();
  const lines = await linesOf(QUEUES, wordsFor(folders));
  return new Set(folders.filter((folder) => lines.includes(basename(folder))));
}

function wordsFor(folders: readonly string[]): string[] {
  return folders.flatMap((folder) => ['-e', `/${basename(folder)}/`]);
}

async function linesOf(script: string, argv: readonly string[]): Promise<string[]> {
  const { stdout } = await execa('/bin/sh', ['-c', script, 'sh', ...argv], {
    env: environment,
    extendEnv: false,
    stdin: 'ignore',
    stderr: 'ignore',
    reject: false,
  });
  return stdout.split('\n');
}

/**
 * Looks for files without a name now and then. A look takes its time, because somebody may hold many files open: it
 * goes on beside the others, which know what the last one found.
 */
export class HiddenUse {
  #found: ReadonlyMap<string, number> = new Map();
  /** When to look again: as usual, and while the disk fills. */
  #next = { usual: 0, soonest: 0 };

  bytesOf(folder: string): number {
    return this.#found.get(folder) ?? 0;
  }

  /** Looks if it is time. */
  async look(folders: readonly string[], cause: LookCause): Promise<void> {
    const startedAt = performance.now();
    if (startedAt < this.#next[cause === 'pause' ? 'usual' : 'soonest']) return;
    this.#next = { usual: Infinity, soonest: Infinity };
    this.#found = await hiddenBytesOf(folders).catch(() => new Map());
    const now = performance.now();
    this.#next = { usual: now + REST * (now - startedAt), soonest: now + (now - startedAt) };
  }
}
