import { execa } from 'execa';

const PATH = { PATH: '/usr/local/bin:/usr/bin:/bin' };

/**
 * Makes a user and the group with the same number the owner of these folders and of everything in them. Changes
 * symbolic links themselves, not their targets.
 */
export async function chownTrees(folders: readonly string[], uid: number): Promise<void> {
  await execa('chown', ['-hRP', `${uid}:${uid}`, '--', ...folders], {
    env: PATH,
    extendEnv: false,
    stdin: 'ignore',
  });
}
