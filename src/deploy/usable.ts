import type { Builder } from '../build/builder.ts';
import { DeployError } from '../core/errors.ts';
import type { Release } from '../core/types.ts';

/**
 * Before a release that is there runs again: what it runs was built for this server as it is set up now.
 *
 * @param hint - How to build it anew.
 * @throws DeployError `ARTIFACT_UNUSABLE`
 */
export function assertUsable(builder: Builder, { tool, version, artifact }: Release, hint: string): void {
  const why = builder.whyUnusable(artifact);
  if (why !== null) throw new DeployError('ARTIFACT_UNUSABLE', `v${version} of ${tool} ${why}.`, hint);
}
