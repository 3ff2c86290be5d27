import type { Dirent } from 'node:fs';
import { chmod, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ExecaError, execa } from 'execa';
import { removeTrees } from '../core/disk/remove-tree.ts';
import { tooManyLinks } from './build-failures.ts';

const environment = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };

async function run(program: string, argv: readonly string[]): Promise<string> {
  const { stdout } = await execa(program, argv, { env: environment, extendEnv: false, stdin: 'ignore' });
  return stdout;
}

/**
 * The most memory (address space) of one cp, 256 MiB. cp keeps in memory the path of each file that has several hard
 * links, and no limit of a tool counts this memory.
 */
const COPY_KIB = 256 * 1024;

/**
 * Copies files and folders with their owners and hard links. Shares disk blocks with the originals if the file system
 * can.
 *
 * @throws DeployError `BUILD_FAILED` if the paths of files with several hard links need more memory than `COPY_KIB`.
 */
export async function copyFiles(
  from: readonly string[],
  to: string,
  signal?: AbortSignal,
  mostKib = COPY_KIB,
): Promise<void> {
  await copy(['--', ...from, to], signal === undefined ? {} : { cancelSignal: signal }, mostKib);
}

async function copy(
  words: readonly string[],
  options: { readonly cancelSignal?: AbortSignal; readonly cwd?: string },
  mostKib = COPY_KIB,
): Promise<void> {
  const sharing = process.platform === 'linux' ? ['--reflink=auto'] : [];
  const limited = `ulimit -v ${mostKib} 2>/dev/null; exec cp "$@"`;
  const argv = ['-c', limited, 'cp', '-a', ...sharing, ...words];
  try {
    await execa('sh', argv, { ...options, env: environment, extendEnv: false, stdin: 'ignore' });
  } catch (cause) {
    if (cause instanceof ExecaError && /memory exhausted/.test(`${cause.stderr}`)) throw tooManyLinks(cause);
    throw cause;
  }
}

/** Makes a folder and its parents. The folder itself gets exactly this mode. */
export async function makeFolder(folder: string, mode: number): Promise<void> {
  await mkdir(folder, { recursive: true, mode });
  // Set the mode, because mkdir applies the umask, and does not change a folder that exists.
  await chmod(folder, mode);
}

/**
 * The entries of a folder in a source, without entries whose names are not valid UTF-8. Git accepts such names, but a
 * string cannot express them, so these files cannot be opened.
 */
export async function entriesIn(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter(({ name }) => !name.includes('\uFFFD'));
}

/**
 * Copies folders to the same places below another folder, with the owners of their files, and lets the owners write to
 * the copies. Shares disk blocks with the originals if the file system can.
 *
 * One program copies all folders, so a file that has a hard link in each of them is copied once. A program for each
 * folder would copy such a file once for each folder. A build within its limits could then fill the disk.
 *
 * @param paths - The paths of the folders below `from`. They must not exist below `to`.
 */
export async function copyFolders(from: string, paths: readonly string[], to: string): Promise<void> {
  if (paths.length === 0) return;
  await mkdir(to, { recursive: true });
  await copy(['--parents', '--', ...paths, to], { cwd: from });
  await run('chmod', ['-R', 'u+w', '--', ...paths.map((path) => join(to, path))]);
}

/**
 * Makes the server's user the owner of the files in these folders, so that no tool can change them. A file keeps its
 * owner if other users could otherwise no longer read or run it. The folders keep their owners, so the owner of a
 * folder can still replace files in it.
 */
export async function takeFiles(folders: readonly string[]): Promise<void> {
  if (folders.length === 0) return;
  const open = ['-perm', '-o=r', '(', '!', '-perm', '/u=x', '-o', '-perm', '-o=x', ')'];
  const { uid, gid } = serverUser();
  const take = ['chown', '-h', `${uid}:${gid}`, '--', '{}', '+'];
  const files = [...folders, '-type', 'f', '!', '-uid', `${uid}`, ...open];
  // Ignore errors, because a path may be too long for chown. Such a file still belongs to the tool's user. The next
  // build then gets a copy of the layer instead of hard links to its files.
  await run('find', [...files, '-exec', ...take]).catch(() => {});
}

/** Whether all files in a folder belong to the server's user, and nobody may write to them. */
export async function isTaken(folder: string): Promise<boolean> {
  const files = [folder, '-type', 'f', '(', '!', '-uid', `${serverUser().uid}`, '-o', '-perm', '/222', ')'];
  return (await run('find', [...files, '-print', '-quit'])) === '';
}

/** The ids of the user and the group under which this server runs. */
export function serverUser(): { readonly uid: number; readonly gid: number } {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

/**
 * Copies folders and the folders in them to the same places below another folder, with their owners, but makes hard
 * links to the files. If the file system refuses a link in one of `paths` (link(2), EMLINK and EXDEV), copies all files
 * of this folder instead.
 *
 * @param paths - The paths of the folders below `from`. They must not exist below `to`.
 */
export async function linkFolders(from: string, paths: readonly string[], to: string): Promise<void> {
  const refused: string[] = [];
  for (const path of paths) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    const isLinked = await run('cp', ['-al', '--', join(from, path), join(to, path)]).then(
      () => true,
      () => false,
    );
    if (!isLinked) refused.push(path);
  }
  await removeTrees(refused.map((path) => join(to, path)));
  await copyFolders(from, refused, to);
}

/**
 * Moves a folder within the data folder. `to` must not exist.
 *
 * Runs the program mv for this, because rename(2) can take minutes: on one file system, only one rename between folders
 * runs at a time, and it waits if a process of a tool holds the lock of a folder. If the server called rename(2)
 * itself, its work with all other files would stop meanwhile.
 */
export async function moveFolder(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await run('mv', ['-T', '--', from, to]);
}

/**
 * Moves folders within the data folder to the same places below another folder. If a file in a folder has a second hard
 * link, copies that folder and deletes the original, so that nobody can change the moved files through the other link.
 *
 * @param paths - The paths of the folders below `from`. They must not exist below `to`.
 */
export async function moveApart(from: string, paths: readonly string[], to: string): Promise<void> {
  const linked: string[] = [];
  for (const path of paths) {
    const found = await run('find', [join(from, path), '-type', 'f', '-links', '+1', '-print', '-quit']);
    if (found === '') await moveFolder(join(from, path), join(to, path));
    else linked.push(path);
  }
  await copyFolders(from, linked, to);
  await removeTrees(linked.map((path) => join(from, path)));
}

/**
 * Deletes from a folder everything except folders, plain files and symbolic links. Lets the owner read and write the
 * rest. Removes set-user and set-group bits, and the write permission of everyone but the owner. No process may be
 * using the folder.
 */
export async function sweepFolder(folder: string): Promise<void> {
  const special = ['-type', 'b', '-o', '-type', 'c', '-o', '-type', 'p', '-o', '-type', 's'];
  // chmod runs before find, because find does not see the entries of an unreadable folder.
  await run('chmod', ['-R', 'u+rwX,u-s,g-s,o-w,g-w', '--', folder]);
  // Let find itself delete the devices, pipes and sockets (`special`), because it also reaches paths that are longer
  // than PATH_MAX.
  await run('find', [folder, '(', ...special, ')', '-delete']);
}

/**
 * Takes the write permission of files from everyone, also from their owner. Folders stay writable, so that an ordinary
 * rm can remove the data folder. But if the path of a file is too long for the kernel, folders whose paths are too long
 * are no longer writable either.
 */
export async function protectFiles(folder: string): Promise<void> {
  try {
    await run('find', [folder, '-type', 'f', '-exec', 'chmod', 'a-w', '--', '{}', '+']);
  } catch {
    // chmod also reaches files whose paths are too long for `-exec`. find's `-execdir` would reach them too, but it
    // starts a chmod in each folder, and a tool could make 100,000 folders.
    await run('chmod', ['-R', 'a-w', '--', folder]);
    await run('find', [folder, '-type', 'd', '-exec', 'chmod', 'u+w', '--', '{}', '+']).catch(() => {});
  }
}

/** A sync takes long while other programs write a lot. After this time, the server no longer waits for the kernel. */
const SYNC_MS = 10_000;

/** Writes the cached data of the folder's file system to the disk: syncfs(2). Waits at most 10 s. */
export async function syncDisk(folder: string): Promise<void> {
  await Promise.race([run('sync', ['-f', folder]), wait(SYNC_MS, null, { ref: false })]);
}
