import { chmod, lstat, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DeployError, noneIfGone, systemCode } from '../errors.ts';
import { namesIn } from './names-in.ts';

/** Files in the data folder that other users may not read. */
const PRIVATE_FILES =
  /^(store\.sqlite(-\w+)?|server\.lock(-journal)?|directory\.yaml|(audit|refused|excess)\b.*\.log|(renames|renaming)\.json|tool-users)$/;
/** Folders in the data folder that other users may not enter. */
const PRIVATE_FOLDERS = [
  ...['backups', 'cache', 'deployments', 'logs', 'releases', 'repositories'],
  ...['restored', 'restoring', 'set-aside', 'transfers'],
];

/**
 * Makes the data folder if it does not exist, and lets other users pass through it. Removes the rights of other users
 * to its private parts, which they have if the folder was copied without its modes.
 *
 * @throws DeployError `DATA_FOLDER` if that fails, or if the folder is for all users, like /tmp.
 */
export async function openDataFolder(data: string): Promise<void> {
  try {
    await mkdir(data, { recursive: true });
    // Refuse a folder with the sticky bit, such as /tmp. Such a folder is for all users, so the server must not change
    // the mode of the folder.
    if (((await stat(data)).mode & 0o1000) !== 0) throw isShared(data);
    await chmod(data, 0o711);
    await closePrivate(data);
  } catch (cause) {
    if (cause instanceof DeployError) throw cause;
    const why = systemCode(cause) ?? 'unknown error';
    throw new DeployError(
      'DATA_FOLDER',
      `the data folder ${data} cannot be made or opened (${why})`,
      'Set TOOLFORGE_PUSH_DATA to a folder that belongs to the user of this server.',
      { cause },
    );
  }
}

/** Removes the rights of other users to the private parts of the data folder. The rights of a group stay. */
async function closePrivate(data: string): Promise<void> {
  for (const name of await namesIn(data)) {
    const path = join(data, name);
    // A running server may delete a file meanwhile.
    const entry = await lstat(path).catch(noneIfGone);
    if (entry === null || (entry.mode & 0o007) === 0) continue;
    const isPrivate = entry.isFile()
      ? PRIVATE_FILES.test(name)
      : entry.isDirectory() && PRIVATE_FOLDERS.includes(name);
    if (isPrivate) await chmod(path, entry.mode & 0o7770).catch(noneIfProtected);
  }
}

/**
 * Handles an error of chmod(2): ignores it if this server may not change the mode, for example of an immutable file or
 * on a read-only disk. The mode then stays. @throws any other error.
 */
function noneIfProtected(cause: unknown): void {
  if (!['EPERM', 'EROFS'].includes(systemCode(cause) ?? '')) throw cause;
}

function isShared(data: string): DeployError {
  return new DeployError(
    'DATA_FOLDER',
    `the data folder ${data} is shared by all users of this machine`,
    `Set TOOLFORGE_PUSH_DATA to a folder that only the server uses, for example a new folder in ${data}.`,
  );
}

/**
 * The refusal of a start if another server runs. @param by - Who uses the data folder: the text after `is in use by`.
 */
export function dataInUse(by: string, cause?: unknown): DeployError {
  return new DeployError(
    'DATA_IN_USE',
    `the data folder is in use by ${by}`,
    'Stop the other server first, or give this server another data folder with TOOLFORGE_PUSH_DATA.',
    { cause },
  );
}
