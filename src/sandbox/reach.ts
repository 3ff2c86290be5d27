import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DeployError } from '../core/errors.ts';

/**
 * Checks that other users may pass through a folder and all above it, since a tool's own uid must reach its
 * files and bwrap does so by path.
 *
 * @throws DeployError `DATA_FOLDER_CLOSED` that names the folder that is closed.
 */
export async function checkReach(folder: string): Promise<void> {
  const closed = await firstClosed(await realpath(folder));
  if (closed === null) return;
  throw new DeployError(
    'DATA_FOLDER_CLOSED',
    `Tools run under users of their own, and those may not pass through the folder ${closed}.`,
    `Run \`chmod o+x ${closed}\`, which lets others pass but not list it, or set TOOLFORGE_PUSH_DATA to another place, as /var/lib/toolforge-push.`,
  );
}

/** The uppermost folder on the way that others may not enter, or null. */
async function firstClosed(folder: string): Promise<string | null> {
  const parent = dirname(folder);
  const above = parent === folder ? null : await firstClosed(parent);
  if (above !== null) return above;
  const { mode } = await stat(folder);
  return (mode & 0o001) === 0 ? folder : null;
}
