import { chmod, mkdir, stat } from 'node:fs/promises';
import { DeployError, systemCode } from '../errors.ts';

/**
 * Makes the data folder if it does not exist, and lets other users pass through it.
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
