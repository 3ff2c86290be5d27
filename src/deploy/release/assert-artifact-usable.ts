import type { Builder } from '../../builder/builder.ts';
import { DeployError } from '../../core/errors.ts';
import type { Release } from '../../core/types.ts';

/**
 * Checks that the artifact of an existing release can run with the present settings of this server.
 *
 * @param hint - Tells the person how to build the release again.
 * @throws DeployError `ARTIFACT_UNUSABLE`
 */
export function assertArtifactUsable(
  builder: Builder,
  { tool, version, artifact }: Release,
  hint: string,
): void {
  const why = builder.whyUnusable(artifact);
  if (why !== null) throw new DeployError('ARTIFACT_UNUSABLE', `v${version} of ${tool} ${why}.`, hint);
}
