import { lstat, unlink } from 'node:fs/promises';
import { execa } from 'execa';
import { isAbsent } from './names-in.ts';

const PATH = { PATH: '/usr/local/bin:/usr/bin:/bin' };

/**
 * Removes a file or folder that a tool could write to. Copes with millions of files, folders that their owner may not
 * enter, and trees deeper than the longest path. Follows no links. Does nothing if the path does not exist.
 */
export async function removeTree(folder: string): Promise<void> {
  if (!(await isFolder(folder))) return await removeFile(folder);
  // Node's own `rm` is not used: it holds all names in memory and works with paths. A tool could replace a part of a
  // path by a link during the removal.
  const options = { env: PATH, extendEnv: false, stdin: 'ignore' } as const;
  const removed = await execa('rm', ['-rf', '--', folder], { ...options, stderr: 'ignore', reject: false });
  if (removed.exitCode === 0) return;
  await execa('chmod', ['-R', 'u+rwX', '--', folder], { ...options, reject: false });
  await execa('rm', ['-rf', '--', folder], options);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}
