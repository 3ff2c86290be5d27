import type { Dirent } from 'node:fs';
import { open, readdir, readlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { entriesIn } from '../folders.ts';
import { readIfSmall } from './safe-files.ts';

/**
 * At most this many files and folders of a source are checked. The warnings are only a help, so they may miss the rest.
 */
const MAX_ENTRIES = 50_000;
const MAX_NAMED = 3;
const lfsPointer = 'version https://git-lfs.github.com/spec/';
/** A larger file is not looked at, because a pointer file of Git LFS has about 130 bytes. */
const MAX_POINTER_BYTES = 1024;

/**
 * One sentence for each kind of thing that people expect of a checkout and do not get: submodules, repositories inside
 * the repository, Git LFS files, and links to outside of the repository. Changes nothing and follows no link.
 *
 * @param isWhole - True if no file of the checkout was removed. Then an empty folder can only be another repository.
 */
export async function sourceWarnings(folder: string, isWhole = true): Promise<string[]> {
  const pointers: string[] = [];
  const repositories: string[] = [];
  const links: string[] = [];
  const entries = await entriesBelow(folder);
  const hasLfs = await usesLfs(folder, entries);
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink() && (await leadsOut(folder, path))) links.push(relative(folder, path));
    if (isWhole && entry.isDirectory() && (await isEmpty(path))) repositories.push(relative(folder, path));
    if (hasLfs && entry.isFile() && (await isPointer(path))) pointers.push(relative(folder, path));
  }
  const warnings: string[] = [];
  if ((await readIfSmall(folder, ['.gitmodules'])) !== null) {
    warnings.push(
      'Git submodules are not supported: their folders are empty here. Put their files into this repository (git subtree), or install them as packages.',
    );
  } else if (repositories.length > 0) {
    warnings.push(
      `Each of these folders is a git repository of its own, so it is empty here: ${named(repositories)}. To add its files: git rm --cached FOLDER, delete FOLDER/.git, then git add FOLDER.`,
    );
  }
  if (pointers.length > 0) {
    warnings.push(
      `Git LFS is not supported. Only pointers to these files are here, not their content: ${named(pointers)}. Store the files in git itself (git lfs migrate export).`,
    );
  }
  if (links.length > 0) {
    warnings.push(
      `These symbolic links lead out of the repository, so they do not work here: ${named(links)}.`,
    );
  }
  return warnings;
}

/** All entries below a folder, breadth first: entries near the top come first. At most MAX_ENTRIES. */
async function entriesBelow(folder: string): Promise<Dirent[]> {
  const found: Dirent[] = [];
  const folders = [folder];
  for (const one of folders) {
    for (const entry of await entriesIn(one)) {
      if (found.length === MAX_ENTRIES) return found;
      found.push(entry);
      if (entry.isDirectory()) folders.push(join(one, entry.name));
    }
  }
  return found;
}

/** Whether one of the first hundred .gitattributes files, in any folder, has a filter for Git LFS. */
async function usesLfs(folder: string, entries: readonly Dirent[]): Promise<boolean> {
  for (const { parentPath, name } of entries.filter(({ name }) => name === '.gitattributes').slice(0, 100)) {
    const parts = relative(folder, join(parentPath, name)).split('/');
    if ((await readIfSmall(folder, parts))?.includes('filter=lfs') === true) return true;
  }
  return false;
}

function named(paths: readonly string[]): string {
  const more = paths.length > MAX_NAMED ? ` and ${paths.length - MAX_NAMED} more` : '';
  return paths.slice(0, MAX_NAMED).join(', ') + more;
}

async function leadsOut(folder: string, path: string): Promise<boolean> {
  const target = await readlink(path);
  const inside = relative(folder, resolve(dirname(path), target));
  return target.startsWith('/') || inside === '..' || inside.startsWith('../');
}

async function isEmpty(folder: string): Promise<boolean> {
  return (await readdir(folder)).length === 0;
}

async function isPointer(path: string): Promise<boolean> {
  await using file = await open(path, 'r');
  if ((await file.stat()).size > MAX_POINTER_BYTES) return false;
  const { buffer, bytesRead } = await file.read(Buffer.alloc(lfsPointer.length), 0, lfsPointer.length, 0);
  return buffer.toString('latin1', 0, bytesRead) === lfsPointer;
}
