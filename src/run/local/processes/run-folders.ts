import { randomUUID } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { removeTree } from '../../../core/disk/remove-tree.ts';
import type { Log } from '../../../core/log/log.ts';
import type { Mount, Sandbox } from '../../../sandbox/sandbox.ts';
import { REPLICA_FILE, type ReplicaFile } from './replica-file.ts';

/** The folders of one run of a process. */
export interface RunFolders {
  /**
   * The folder on this machine that holds all other folders of this run. An isolated process can write to disk only
   * below it.
   */
  readonly folder: string;
  readonly toolNumber: number;
  readonly mounts: readonly Mount[];
  /**
   * The path at which the process sees its folder /tmp. The next field, `home`, is the path at which it sees its home
   * folder.
   */
  readonly tmp: string;
  readonly home: string;
  /**
   * The environment variables that the process gets because of the file `replica.my.cnf` in `home`. Empty without that
   * file.
   */
  readonly variables: Readonly<Record<string, string>>;
  /** The folder that gets what the process writes to the folder of its release. See `Mount.writesTo`. */
  readonly writesTo: string;
  /**
   * Returns up to five names at the top of the release's folder: files that the process has created, changed or
   * deleted, and folders with such files.
   */
  changed(): Promise<string[]>;
  remove(): Promise<void>;
}

/**
 * Creates /tmp, the home folder and folders for changes to the release's files, owned by the tool's user. All are
 * empty, except that the home folder has `replica.my.cnf`, if the tool has this file.
 */
export async function makeRunFolders(
  parent: string,
  toolNumber: number,
  { sandbox, log }: { readonly sandbox: Sandbox; readonly log: Log },
  replica: ReplicaFile | null = null,
): Promise<RunFolders> {
  const folder = join(parent, randomUUID());
  const tmp = { source: join(folder, 'tmp'), target: '/tmp', isWritable: true };
  const home = { source: join(folder, 'home'), target: '/home/tool', isWritable: true };
  const writesTo = join(folder, 'workspace');
  const changes = ['changes', 'work', 'view'].map((name) => join(writesTo, name));
  for (const path of [folder, tmp.source, home.source, writesTo, ...changes]) await mkdir(path);
  if (replica !== null) await writeFile(join(home.source, REPLICA_FILE), replica.content, { mode: 0o400 });
  await sandbox.own([tmp.source, home.source, ...changes], toolNumber);
  // The tool's user must be able to enter these folders, and the umask may have removed that permission.
  for (const path of [folder, writesTo]) await chmod(path, 0o711);
  return {
    folder,
    toolNumber,
    mounts: [tmp, home],
    tmp: sandbox.path(tmp),
    home: sandbox.path(home),
    variables: replica?.variables ?? {},
    writesTo,
    changed: () => changedNames(join(writesTo, 'changes')),
    remove: async () => {
      try {
        await removeTree(folder);
      } catch (error) {
        // Only log the error, because the server deletes the folder at its next start.
        log.warn({ err: error }, 'cannot remove a run folder');
      }
    },
  };
}

// A shell command that prints what `RunFolders.changed` returns. Leaves out `__pycache__`, the folders for compiled
// modules of Python, because Python makes these files again when it needs them.
const CHANGED = `find "$1" -name __pycache__ -prune -o ! -type d -printf '%P\\n' | cut -d / -f 1 | sort -u | head -n 5`;

async function changedNames(changes: string): Promise<string[]> {
  const { stdout } = await execa('/bin/sh', ['-c', CHANGED, 'sh', changes], {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    extendEnv: false,
    stdin: 'ignore',
    stderr: 'ignore',
    reject: false,
  });
  return stdout.split('\n').filter((name) => name !== '');
}
