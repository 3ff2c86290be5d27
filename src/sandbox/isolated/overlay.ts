import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { removeTree } from '../../core/disk/remove-tree.ts';

const PROBE_MS = 10_000;

/** The options of mount(8) for the overlay of a tool's folder. Shell variables may stand for the paths. */
export function overlayOptions(lower: string, writesTo: string): string {
  return `lowerdir=${lower},upperdir=${writesTo}/changes,workdir=${writesTo}/work,userxattr`;
}

/** Matches a path that cannot stand in the options of an overlay. */
const UNUSABLE = /[,:\\]/;

/**
 * Tries to mount an overlay in `folder`, as a tool needs it to write to the folder of its release (`Mount.writesTo`).
 *
 * @returns why the overlay could not be mounted. Null if the trial succeeded.
 */
export async function whyNoOverlay(folder: string): Promise<string | null> {
  if (UNUSABLE.test(folder)) return 'the path of the data folder has a comma, a colon or a backslash';
  const trial = await mkdtemp(join(folder, 'overlay-'));
  try {
    for (const name of ['release', 'changes', 'work', 'view']) await mkdir(join(trial, name));
    const options = overlayOptions(join(trial, 'release'), trial);
    const words = ['mount', '-it', 'overlay', '-o', options, 'overlay', join(trial, 'view')];
    const tried = await execa('unshare', ['--user', '--map-root-user', '--mount', '--', ...words], {
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      extendEnv: false,
      stdin: 'ignore',
      reject: false,
      timeout: PROBE_MS,
    });
    if (tried.exitCode === 0) return null;
    const [first = ''] = (tried.stderr ?? '').split('\n');
    return first.replaceAll(trial, '') || 'mount failed without a message';
  } finally {
    await removeTree(trial);
  }
}
