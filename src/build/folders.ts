import type { Dirent } from 'node:fs';
import { chmod, mkdir, readdir, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { systemCode } from '../core/errors.ts';
import { removeTree } from '../sandbox/remove.ts';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

async function run(program: string, argv: readonly string[]): Promise<string> {
  const { stdout } = await execa(program, argv, { env: environment, extendEnv: false, stdin: 'ignore' });
  return stdout;
}

/** Makes a folder, and those on the way, with exactly this mode for the last one. */
export async function makeFolder(folder: string, mode: number): Promise<void> {
  await mkdir(folder, { recursive: true, mode });
  // mkdir takes the umask into account, and leaves a folder that is there as it is.
  await chmod(folder, mode);
}

/** The names in a folder; none where it does not exist. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/**
 * What is in a folder of a source, without what has a name that is no UTF-8: git takes such names, and no text leads
 * to what they name.
 */
export async function entriesIn(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter(({ name }) => !name.includes('\uFFFD'));
}

/** A real copy, by sharing blocks where the file system can, writable for its owner. `to` must not exist. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  const sharing = process.platform === 'linux' ? ['--reflink=auto'] : [];
  await run('cp', ['-a', ...sharing, '--', from, to]);
  await run('chmod', ['-R', 'u+w', '--', to]);
}

/** Moves a folder within the data folder. `to` must not exist. */
export async function moveFolder(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rename(from, to);
}

/**
 * The same for a folder of which nobody else may change a file: where one is a hard link, and so may be in another
 * folder too, all are copied.
 */
export async function moveApart(from: string, to: string): Promise<void> {
  const linked = await run('find', [from, '-type', 'f', '-links', '+1', '-print', '-quit']);
  if (linked === '') return await moveFolder(from, to);
  await copyFolder(from, to);
  await removeTree(from);
}

/**
 * Leaves only folders, plain files and symbolic links, none with a set-user or set-group bit, nothing that
 * anyone but their owner could write, and, with `isFinal`, no file that even the owner changes by mistake.
 * No process may be at work in the folder.
 */
export async function sweepFolder(folder: string, options: { readonly isFinal: boolean }): Promise<void> {
  const special = ['-type', 'b', '-o', '-type', 'c', '-o', '-type', 'p', '-o', '-type', 's'];
  // Before the walk: a folder that cannot be read would hide what is in it.
  await run('chmod', ['-R', 'u+rwX,u-s,g-s,o-w,g-w', '--', folder]);
  // By find itself, which also comes to what lies deeper than any path.
  await run('find', [folder, '(', ...special, ')', '-delete']);
  // Folders stay as they are, or nobody could remove the data folder with an ordinary rm.
  if (options.isFinal) await protectFiles(folder);
}

async function protectFiles(folder: string): Promise<void> {
  const files = [folder, '-type', 'f'];
  const protect = ['chmod', 'a-w', '--', '{}', '+'];
  try {
    await run('find', [...files, '-exec', ...protect]);
  } catch {
    // Folder by folder, which is slow: a path was too long.
    await run('find', [...files, '-execdir', ...protect]);
  }
}
