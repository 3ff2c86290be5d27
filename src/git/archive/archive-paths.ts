import { posix } from 'node:path';
import { DeployError } from '../../core/errors.ts';
import { oneLine } from '../../core/progress.ts';

/**
 * The longest path of a file. `MAX_NAME_BYTES` is the limit for each name in the path. A pushed commit has the same
 * limits (`PATH_TOO_LONG` of `inspectCommit`).
 */
const MAX_PATH_BYTES = 1024;
const MAX_NAME_BYTES = 255;
/** PATH_MAX of Linux, without the NUL at the end of a path. */
const MAX_TARGET_BYTES = 4095;

/** Characters that HFS+ ignores in names (`next_hfs_char` in git's utf8.c). */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/**
 * Control characters, which the name of an entry must not have. For git and the disk, a name ends at a NUL, so git and
 * the disk would use another name than the one that was checked.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression looks for control characters.
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f]/;

/**
 * Returns the path of an entry in the tree of a commit: without `./`, and without slashes at its ends. Empty for the
 * top folder.
 *
 * @throws DeployError `BAD_ARCHIVE` if the path is absolute, has a part `..` or a control character, or is not UTF-8;
 * `PATH_TOO_LONG` if the path or a name in it is too long.
 */
export function treePath(name: string): string {
  if (name.startsWith('/')) throw badEntry(name, 'has an absolute path', RELATIVE);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw badEntry(name, 'leaves the folder (..)', RELATIVE);
  // Refuse U+FFFD, because the reader of the archive puts it in place of bytes that are not UTF-8.
  if (name.includes('\ufffd'))
    throw badEntry(name, 'has a name that is not UTF-8', 'Rename the file, and deploy again.');
  if (CONTROL_CHARACTERS.test(name))
    throw badEntry(name, 'has a control character in its name', 'Rename the file, or leave it out.');
  const path = parts.join('/');
  if (
    Buffer.byteLength(path) > MAX_PATH_BYTES ||
    parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES)
  )
    throw new DeployError(
      'PATH_TOO_LONG',
      `a file in the archive has a name that is too long to be written to disk (${shown(path)}…)`,
      `A file name can have ${MAX_NAME_BYTES} bytes, and a path with its folders ${MAX_PATH_BYTES}. Rename the file, and deploy again.`,
    );
  return path;
}

/**
 * True if a part of the path is `.git`, or is a name that a file system of macOS or Windows treats as `.git`. git
 * refuses a commit with such a part.
 */
export function isInGitFolder(path: string): boolean {
  return path.split('/').some((part) => {
    const plain = part.replace(HFS_IGNORED, '').toLowerCase();
    // Look for the names that NTFS takes for `.git`. NTFS ignores spaces and full stops at the end of a name, and what
    // follows a colon. A backslash separates folders.
    return plain.split('\\').some((name) => /^(\.git|git~1)[ .]*(:|$)/.test(name));
  });
}

/**
 * Checks the target of a symbolic link at `path`. A target may begin with `../` if it stays in the tree, and may have
 * `..` nowhere else. So a link whose target passes through other links stays in the tree, too.
 *
 * @returns how many folders up the target leads.
 * @throws DeployError `BAD_ARCHIVE` if the target leaves the tree, or is empty, too long or otherwise unusable.
 */
export function assertInTree(path: string, target: string): number {
  const folders = foldersOf(path);
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = parts.findIndex((part) => part !== '..');
  const ups = up < 0 ? parts.length : up;
  const isOutside = posix.isAbsolute(target) || ups > folders || parts.slice(ups).includes('..');
  const isBad =
    target === '' ||
    target.includes('\ufffd') ||
    CONTROL_CHARACTERS.test(target) ||
    Buffer.byteLength(target) > MAX_TARGET_BYTES;
  if (isOutside)
    throw badEntry(
      path,
      `is a link that leaves the folder (${shown(target)})`,
      'Replace the link by a copy of the file, or leave it out.',
    );
  if (isBad) throw badEntry(path, 'is a link without a usable target', 'Leave the link out.');
  return ups;
}

/** In how many folders a path of the tree is: 0 for the top folder's own files. */
export function foldersOf(path: string): number {
  return path.split('/').length - 1;
}

const RELATIVE = 'Make the archive inside of the folder, with relative paths: tar cz .';

export function badEntry(name: string, what: string, hint: string): DeployError {
  return new DeployError(
    'BAD_ARCHIVE',
    `an entry of the archive ${what}: ${shown(name)}`,
    `${hint} Nothing was deployed.`,
  );
}

/** Returns a name as messages show it: on one line, and at most 80 characters. */
function shown(name: string): string {
  return oneLine(name).slice(0, 80);
}
