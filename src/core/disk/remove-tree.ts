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
  await removeByProgram([folder]);
}

/** How many paths one call of the program `rm` gets at most. */
const AT_ONCE = 200;

/**
 * Removes files and folders as `removeTree` does, but with few programs, because to start a program takes this process
 * some milliseconds, and a tool can make thousands of folders.
 */
export async function removeTrees(paths: readonly string[]): Promise<void> {
  for (let index = 0; index < paths.length; index += AT_ONCE)
    await removeByProgram(paths.slice(index, index + AT_ONCE));
}

async function removeByProgram(paths: readonly string[]): Promise<void> {
  // Use the program `rm` instead of Node's own `rm`, which holds the names of all files in memory. Node's `rm` also
  // opens each file by its path, so a tool could replace a folder in the path by a link during the removal. Then Node's
  // `rm` would remove files elsewhere.
  const options = { env: PATH, extendEnv: false, stdin: 'ignore' } as const;
  const removed = await execa('rm', ['-rf', '--', ...paths], { ...options, stderr: 'ignore', reject: false });
  if (removed.exitCode === 0) return;
  // Give the program `chmod` only folders, because it would follow a symbolic link among its arguments.
  const folders: string[] = [];
  for (const path of paths) if (await isFolder(path)) folders.push(path);
  await execa('chmod', ['-R', 'u+rwX', '--', ...folders], { ...options, stderr: 'ignore', reject: false });
  await execa('rm', ['-rf', '--', ...paths], options);
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
