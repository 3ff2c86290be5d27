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
  const releases = store.releases(tool, 10_000);
  const found = releases.find((release) =>
    version === null
      ? release.state === 'replaced' && release.version < live.version
      : release.version === version,
  );
  if (found === undefined || found.state === 'created' || found.state === 'failed') {
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
  const target = store.release(tool, found.version);
  if (target === null) throw new Error(`v${found.version} of ${tool} is listed and not there`);
  return target;
}

/** Returns the hint that tells how to build and deploy the commit of an old release again. */
export function buildAgain(version: number): string {
  return `Build the release again: git fetch toolforge 'refs/releases/*:refs/releases/*' && git push -f toolforge 'releases/v${version}^{}:main'`;
}
