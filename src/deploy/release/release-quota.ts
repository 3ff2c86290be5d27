import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Store } from '../../store/store.ts';

/**
 * How many bytes of config vars the new releases of one tool may store in a day. The store, its copy and each backup
 * hold these bytes.
 */
const MAX_RELEASE_BYTES_A_DAY = 64 * 1024 * 1024;
const DAY_MS = 24 * 3600_000;

/**
 * Checks that a tool's new releases have not stored too many config vars today, because each release keeps its own
 * config vars for ever.
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
