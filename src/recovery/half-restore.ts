import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DeployError } from '../core/errors.ts';

/**
 * The folder in the data folder into which `restore` unpacks a backup. If `restore` is interrupted while this folder
 * exists, another `restore` unpacks a backup anew.
 */
export const UNPACKING = 'restoring';
/**
 * The new name of the folder `UNPACKING` when its files are whole and on the disk. Its files are then moved to their
 * places. If `restore` is interrupted while this folder exists, another `restore` of the same backup moves the rest.
 */
export const UNPACKED = 'restored';

/** What the operator reads about a data folder into which a restore has not finished. */
export const halfRestored = {
  what: 'a restore of a backup into this data folder has not finished',
  advice:
    'Nothing is lost. If the restore no longer runs, type it again with the same file: npx toolforge-push restore FILE. To do without the backup, set TOOLFORGE_PUSH_DATA to another folder.',
} as const;

/** True while a backup is restored into the data folder, or if such a restore was interrupted. */
export function isHalfRestored(data: string): boolean {
  // Earlier versions could leave the folder `UNPACKING` behind after they had moved the store to its place.
  const isUnpacking = existsSync(join(data, UNPACKING)) && !existsSync(join(data, 'store.sqlite'));
  return isUnpacking || existsSync(join(data, UNPACKED, 'manifest.json'));
}

/**
 * Refuses a start of the server if a restore was interrupted. Call this before the server makes any file, because a
 * restore needs an empty data folder. The caller holds the lock of the data folder.
 *
 * @throws DeployError `DATA_DISAGREES`
 */
export function assertRestored(data: string): void {
  if (isHalfRestored(data)) throw new DeployError('DATA_DISAGREES', halfRestored.what, halfRestored.advice);
}
