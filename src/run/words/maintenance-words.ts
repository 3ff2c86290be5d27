import { DeployError } from '../../core/errors.ts';
import type { Release } from '../../core/types.ts';

/**
 * The paths where a release may have its own page about maintenance, below its source folder. Visitors get the first of
 * these files that exists.
 */
export const PAGE_PLACES: readonly string[] = ['maintenance.html', 'public/maintenance.html'];
export const MAX_PAGE_BYTES = 256 * 1024;

/**
 * The error if a release's own maintenance page is too large.
 *
 * @param place - The path of the page: one of `PAGE_PLACES`.
 */
export function pageTooLarge({ tool, version }: Release, place: string): DeployError {
  return new DeployError(
    'PAGE_TOO_LARGE',
    `the page ${place} in v${version} of ${tool} is larger than ${MAX_PAGE_BYTES / 1024} KiB`,
    'Make the page smaller or delete it, and push.',
  );
}
