import { DeployError } from '../../core/errors.ts';
import type { Release } from '../../core/types.ts';
import type { Store } from '../../store/store.ts';

/**
 * Returns the release that a rollback deploys again.
 *
 * @param version - The release's version. Null means the newest release that was live before the live release.
 * @throws DeployError `NO_RELEASE`, `ARTIFACT_GONE`.
 */
export function rollbackTarget(store: Store, live: Release, version: number | null): Release {
  const { tool } = live;
  // A list of all releases would have all their artifacts, which can be hundreds of megabytes.
  const wanted = version ?? newestBefore(store, live);
  const found = wanted === null ? null : store.release(tool, wanted);
  if (found === null || found.state === 'created' || found.state === 'failed') {
    const noSuchRelease = version === null ? 'no older release' : `no release v${version} that has been live`;
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
      buildAgain(found.version),
    );
  }
  return found;
}

/** The version of the newest release that was live before the live release, or null. */
function newestBefore(store: Store, { tool, version }: Release): number | null {
  const older = [...store.releaseCommits(tool).keys()].filter((one) => one < version);
  return older.length === 0 ? null : Math.max(...older);
}

/** Returns the hint that tells how to build and deploy the commit of an old release again. */
export function buildAgain(version: number): string {
  return `Build the release again: git fetch toolforge 'refs/releases/*:refs/releases/*' && git push -f toolforge 'releases/v${version}^{}:main'`;
}
