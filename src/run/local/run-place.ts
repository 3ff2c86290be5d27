import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../core/log.ts';
import { removeTree } from '../../sandbox/remove.ts';
import type { Mount, Sandbox } from '../../sandbox/sandbox.ts';

/** The folders that one start of a process has for itself. */
export interface RunPlace {
  /** On this machine, with all that the process writes to disk below it. */
  readonly folder: string;
  readonly toolNumber: number;
  readonly mounts: readonly Mount[];
  /** How the process calls them. */
  readonly tmp: string;
  readonly home: string;
  remove(): Promise<void>;
}

/** Makes an empty /tmp and home on disk, owned by the tool's user. */
export async function makeRunPlace(
  parent: string,
  toolNumber: number,
  { sandbox, log }: { readonly sandbox: Sandbox; readonly log: Log },
): Promise<RunPlace> {
  const folder = join(parent, randomUUID());
  const tmp = { source: join(folder, 'tmp'), target: '/tmp', isWritable: true };
  const home = { source: join(folder, 'home'), target: '/home/tool', isWritable: true };
  for (const path of [folder, tmp.source, home.source]) await mkdir(path);
  await sandbox.own(tmp.source, toolNumber);
  await sandbox.own(home.source, toolNumber);
  // Others may pass: the tool's user must get to its two folders. The umask could have said otherwise.
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
        // It goes at the next start of the server.
        log.warn({ err: error }, 'run folder not removed');
      }
    },
  };
}
