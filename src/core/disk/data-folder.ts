import { chmod, mkdir } from 'node:fs/promises';
import { DeployError, systemCode } from '../errors.ts';

/**
 * Makes the data folder if it does not exist, and lets other users pass through it.
 *
 * @throws DeployError `DATA_FOLDER`
 */
export async function openDataFolder(data: string): Promise<void> {
  try {
    await mkdir(data, { recursive: true });
    await chmod(data, 0o711);
  } catch (cause) {
    const why = systemCode(cause) ?? 'unknown error';
    throw new DeployError(
      'DATA_FOLDER',
      `The data folder ${data} cannot be made or opened (${why}).`,
      'Choose one that is yours with TOOLFORGE_PUSH_DATA.',
      { cause },
    );
  }
}
