import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Store } from '../../store/store.ts';

/** Config vars of one tool's new releases. The store, the copy and each backup hold them. */
const MAX_RELEASE_BYTES_A_DAY = 64 * 1024 * 1024;
const DAY_MS = 24 * 3600_000;

/**
 * Limits the config vars that releases store, because each release keeps its own for ever.
 *
 * @throws DeployError `RELEASE_LIMIT`
 */
export function assertReleaseRoom(store: Store, tool: ToolName, now: number = Date.now()): void {
  if (store.releaseBytes(tool, now - DAY_MS, now) < MAX_RELEASE_BYTES_A_DAY) return;
  throw new DeployError(
    'RELEASE_LIMIT',
    `the releases of ${tool} have stored ${MAX_RELEASE_BYTES_A_DAY / 1024 / 1024} MiB of config vars in 24 hours, which is the limit`,
    'Deploy again tomorrow. Make the config vars smaller, or change several of them with one command.',
  );
}
