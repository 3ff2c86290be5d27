import { chmod, mkdir, realpath, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DeployError } from '../core/errors.ts';

/**
 * Checks that other users may pass through a folder and all folders above it. The user of each tool must reach the
 * tool's files by path.
 *
 * @throws DeployError `DATA_FOLDER_CLOSED` with the name of the closed folder.
 */
export async function checkReach(folder: string): Promise<void> {
  const closed = await firstClosed(await realpath(folder));
  if (closed === null) return;
  throw new DeployError(
    'DATA_FOLDER_CLOSED',
    `each tool runs as its own system user, and these users may not pass through the folder ${closed}`,
    `Run \`chmod o+x ${closed}\`, which lets other users pass through the folder but not list it, or set TOOLFORGE_PUSH_DATA to another place, for example /var/lib/toolforge-push.`,
  );
}

/** Returns the topmost folder on the path that other users may not enter. Null if they may enter all of them. */
export async function firstClosed(folder: string): Promise<string | null> {
  const parent = dirname(folder);
  const above = parent === folder ? null : await firstClosed(parent);
  if (above !== null) return above;
  const { mode } = await stat(folder);
  return (mode & 0o001) === 0 ? folder : null;
}

/** Creates a folder that all users may read, whatever the umask says. */
export async function makeFolderForAll(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o755);
}

/** Writes a file that all users may read, whatever the umask says. */
export async function writeForAll(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await chmod(path, 0o644);
}
