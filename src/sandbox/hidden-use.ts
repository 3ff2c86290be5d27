import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { execa } from 'execa';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };
// A process that maps a file can close it. Only root may look at that, and a plain user gets an error.
// A process can have a million descriptors: what is not looked at within two seconds is not seen this time.
const SCRIPT = `timeout 2 find -L /proc/[0-9]*/fd /proc/[0-9]*/map_files -maxdepth 1 -type f -links 0 -printf '%D %i %b %p\\n' 2>/dev/null |
awk -F '[ /]' '!seen[$1 " " $2 " " $6]++ { print $1, $2, $3, $6 }'`;
const BLOCK_BYTES = 512;

/**
 * The bytes on disk of files without a name that processes hold open, or have mapped, for each folder that is mounted
 * for such a process. The last part of a folder's path has to be unique.
 */
export async function hiddenBytesOf(folders: readonly string[]): Promise<Map<string, number>> {
  const options = {
    env: environment,
    extendEnv: false,
    stdin: 'ignore',
    stderr: 'ignore',
    reject: false,
  } as const;
  const { stdout } = await execa('/bin/sh', ['-c', SCRIPT], options);
  const files = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' '));
  const found = new Map<string, number>();
  const counted = new Set<string>();
  const owners = await foldersOf(new Set(files.map(([, , , pid = '']) => pid)), folders);
  for (const [device, inode, blocks, pid = ''] of files) {
    const owner = owners.get(pid);
    const file = `${device} ${inode}`;
    // What is in memory (memfd_create) has another device.
    if (owner === undefined || owner.device !== device || counted.has(file)) continue;
    counted.add(file);
    found.set(owner.folder, (found.get(owner.folder) ?? 0) + Number(blocks) * BLOCK_BYTES);
  }
  return found;
}

interface Owner {
  readonly folder: string;
  readonly device: string;
}

/** By the id of a process, the folder that is mounted for it. Without isolation, none. */
async function foldersOf(pids: ReadonlySet<string>, folders: readonly string[]): Promise<Map<string, Owner>> {
  if (pids.size === 0) return new Map();
  const tables = Array.from(pids, (pid) => `/proc/${pid}/mountinfo`);
  const words = folders.flatMap((folder) => ['-e', `/${basename(folder)}/`]);
  const argv = ['-oFH', ...words, '--', ...tables];
  const { stdout } = await execa('grep', argv, {
    env: environment,
    extendEnv: false,
    stdin: 'ignore',
    reject: false,
  });
  const byName = new Map(folders.map((folder) => [`/${basename(folder)}/`, folder]));
  const owners = new Map<string, Owner>();
  for (const line of stdout.split('\n')) {
    const [, pid, name] = /^\/proc\/(\d+)\/mountinfo:(.*)$/.exec(line) ?? [];
    const folder = byName.get(name ?? '');
    if (pid === undefined || folder === undefined || owners.has(pid)) continue;
    const device = await stat(folder).then(
      ({ dev }) => String(dev),
      () => '',
    );
    owners.set(pid, { folder, device });
  }
  return owners;
}
