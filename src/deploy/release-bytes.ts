import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Store } from '../store/store.ts';

/** Of the config vars that the releases of one tool keep. The store has them, their copy, and each backup. */
const MAX_RELEASE_BYTES_A_DAY = 64 * 1024 * 1024;
const DAY_MS = 24 * 3600_000;

/**
 * Each release keeps the config vars of its time for good, also one that built nothing.
 *
 * @throws DeployError `RELEASE_LIMIT`
 */
export function assertReleaseRoom(store: Store, tool: ToolName, now: number = Date.now()): void {
  if (store.releaseBytes(tool, now - DAY_MS, now) < MAX_RELEASE_BYTES_A_DAY) return;
  throw new DeployError(
    'RELEASE_LIMIT',
    `the releases of ${tool} have kept ${MAX_RELEASE_BYTES_A_DAY / 1024 / 1024} MiB of config vars in 24 hours, which is the limit`,
    'Deploy again tomorrow. Make the config vars smaller, or change several of them with one command.',
  );
}
