import { execa } from 'execa';

const PATH = { PATH: '/usr/local/bin:/usr/bin:/bin' };

/** Gives folders with their content to a user and the group of the same number. Changes links, not their targets. */
export async function chownTrees(folders: readonly string[], uid: number): Promise<void> {
  await execa('chown', ['-hRP', `${uid}:${uid}`, '--', ...folders], {
    env: PATH,
    extendEnv: false,
    stdin: 'ignore',
  });
}
