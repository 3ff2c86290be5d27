import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../../core/log/log.ts';
import { removeTree } from '../../../sandbox/disk/remove-tree.ts';
import type { Mount, Sandbox } from '../../../sandbox/sandbox.ts';

/** The folders of one run of a process. */
export interface RunFolders {
  /** The folder on this machine that holds `tmp` and `home`. An isolated process can write to disk only below it. */
  readonly folder: string;
  readonly toolNumber: number;
  readonly mounts: readonly Mount[];
  /** The path of /tmp as the process sees it. `home` is such a path too. */
  readonly tmp: string;
  readonly home: string;
  remove(): Promise<void>;
}

/** Creates an empty /tmp and home on disk, owned by the tool's user. */
export async function makeRunFolders(
  parent: string,
  toolNumber: number,
  { sandbox, log }: { readonly sandbox: Sandbox; readonly log: Log },
): Promise<RunFolders> {
  const folder = join(parent, randomUUID());
  const tmp = { source: join(folder, 'tmp'), target: '/tmp', isWritable: true };
  const home = { source: join(folder, 'home'), target: '/home/tool', isWritable: true };
  for (const path of [folder, tmp.source, home.source]) await mkdir(path);
  await sandbox.own([tmp.source, home.source], toolNumber);
  // The tool's user must be able to enter this folder, and the umask may have removed that permission.
  await chmod(folder, 0o711);
  return {
    folder,
    toolNumber,
    mounts: [tmp, home],
    tmp: sandbox.path(tmp),
    home: sandbox.path(home),
    remove: async () => {
      try {
        await removeTree(folder);
      } catch (error) {
        // Only log the error, because the next start of the server removes the folder.
        log.warn({ err: error }, 'cannot remove a run folder');
      }
    },
  };
}
