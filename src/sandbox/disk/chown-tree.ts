import { execa } from 'execa';

const PATH = { PATH: '/usr/local/bin:/usr/bin:/bin' };

/** Gives a folder with its content to a user and the group of the same number. Changes links, not their targets. */
export async function chownTree(folder: string, uid: number): Promise<void> {
  await execa('chown', ['-hRP', `${uid}:${uid}`, '--', folder], {
    env: PATH,
    extendEnv: false,
    stdin: 'ignore',
  });
}
