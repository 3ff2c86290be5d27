import { isDeepStrictEqual } from 'node:util';
import { DeployError } from '../../core/errors.ts';
import { outputTime } from '../../core/fair-share/time-shares.ts';
import type { Release } from '../../core/types.ts';
import type { Store } from '../../store/store.ts';
import { commandsToDeploy } from './live-release.ts';

interface RollbackContext {
  readonly store: Store;
  readonly repositories: { readonly deployBranch: string };
}

/**
 * Returns the release that a rollback deploys again.
 *
 * @param version - The release's version. Null means the newest older release that was live and is not the same as the
 *   live release: it has another artifact or other config vars.
 * @throws DeployError `NO_RELEASE` if there is no such release; `ARTIFACT_GONE` if its build was deleted; the signal's
 * reason.
 */
export async function rollbackTarget(
  { store, repositories: { deployBranch } }: RollbackContext,
  live: Release,
  version: number | null,
  signal?: AbortSignal,
): Promise<Release> {
  const { tool } = live;
  // Read one release at a time. The store has a record of the artifact with each release. The records of all releases
  // together could take hundreds of megabytes of memory.
  const found = version === null ? await newestOther(store, live, signal) : store.release(tool, version);
  if (found === null || found.state === 'created' || found.state === 'failed') {
    const noSuchRelease =
      version === null ? 'no older release that differs' : `no release v${version} that has been live`;
    throw new DeployError(
      'NO_RELEASE',
      `the tool ${tool} has ${noSuchRelease}`,
      `List the releases with: \`releases ${tool}\``,
    );
  }
  if (!store.build(found.artifact.id)?.artifact) {
    throw new DeployError(
      'ARTIFACT_GONE',
      `the build of v${found.version} has been deleted`,
      buildAgain(found.version, deployBranch),
    );
  }
  return found;
}

/**
 * Returns the newest older release with another artifact or other config vars than the live release. After a rollback,
 * some older releases can have the same artifact and config vars as the live release. To read a release takes
 * milliseconds, and there can be a thousand, so `outputTime` spreads the search over time.
 */
async function newestOther(
  store: Store,
  live: Release,
  signal?: AbortSignal,
): Promise<ReturnType<Store['release']>> {
  const older = [...store.releaseCommits(live.tool).keys()].filter((version) => version < live.version);
  for (const version of older.sort((a, b) => b - a)) {
    signal?.throwIfAborted();
    const other = await outputTime.run(live.tool, () => {
      const release = store.release(live.tool, version);
      return release === null || isSame(release, live) ? null : release;
    });
    if (other !== null) return other;
  }
  return null;
}

function isSame(a: Release, b: Release): boolean {
  return a.artifact.id === b.artifact.id && isDeepStrictEqual({ ...a.configVars }, { ...b.configVars });
}

/** Returns the hint that tells how to build and deploy the commit of an old release again. */
export function buildAgain(version: number, deployBranch: string): string {
  return `Build the release again: ${commandsToDeploy(version, deployBranch)}`;
}
