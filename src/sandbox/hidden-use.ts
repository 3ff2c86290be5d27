import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { execa } from 'execa';
import type { LookCause } from './disk-pace.ts';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };
/** The pause is this many times the duration of the last measurement. */
const REST = 4;
const BLOCK_BYTES = 512;

// awk reads which folder is mounted for which process, then the processes' files, and prints a sum for each folder. Files
// in memory (memfd_create) are on another device. A process may close a file that it has mapped: only root can see that.
// A process can have a million descriptors: those that are not read within two seconds are missed this time.
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
 * For each folder, the bytes on disk of deleted files that processes still hold open or mapped, if the folder is mounted
 * for the process. The folders are on one disk, and the last part of each path is unique.
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
 * The folders with a process that has open files waiting in a socket (SCM_RIGHTS, unix(7)). Their disk use cannot be
 * measured. Honest programs leave files there only for a moment.
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
 * Measures deleted files from time to time. That may be slow if a tool holds many files open, so it runs beside the other
 * measurements, which use its last result.
 */
export class HiddenUse {
  #found: ReadonlyMap<string, number> = new Map();
  /** The time of the next measurement: normally, and while the disk fills. */
  #next = { usual: 0, soonest: 0 };

  bytesOf(folder: string): number {
    return this.#found.get(folder) ?? 0;
  }

  /** Measures if it is time. */
  async look(folders: readonly string[], cause: LookCause): Promise<void> {
    const startedAt = performance.now();
    if (startedAt < this.#next[cause === 'pause' ? 'usual' : 'soonest']) return;
    this.#next = { usual: Infinity, soonest: Infinity };
    this.#found = await hiddenBytesOf(folders).catch(() => new Map());
    const now = performance.now();
    this.#next = { usual: now + REST * (now - startedAt), soonest: now + (now - startedAt) };
  }
}
