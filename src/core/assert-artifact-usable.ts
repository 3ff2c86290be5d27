import { DeployError } from './errors.ts';
import type { Release } from './types.ts';

/**
 * Checks that the artifact of an existing release can run with the present settings of this server.
 *
 * @param why - Why it cannot, as a back end says: the text continues a sentence about the release. Null if it can.
 * @param hint - Tells the person how to build the release again. By default, for the live release.
 * @throws DeployError `ARTIFACT_UNUSABLE`
 */
export function assertArtifactUsable(
  { tool, version }: Release,
  why: string | null,
  hint = `Build the release again: \`redeploy ${tool}\``,
): void {
  if (why !== null) throw new DeployError('ARTIFACT_UNUSABLE', `v${version} of ${tool} ${why}.`, hint);
}
