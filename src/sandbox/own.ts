import { execa } from 'execa';

const PATH = { PATH: '/usr/local/bin:/usr/bin:/bin' };

/** Gives a folder and all in it to a user and its group of the same number; links themselves, not what they point to. */
export async function giveTo(folder: string, uid: number): Promise<void> {
  await execa('chown', ['-hRP', `${uid}:${uid}`, '--', folder], {
    env: PATH,
    extendEnv: false,
    stdin: 'ignore',
  });
}
