import { DeployError } from './errors.ts';
import type { Release } from './types.ts';

/**
 * Checks that an existing release can run with the present settings of this server.
 *
 * @param why - Why it cannot, as a back end says: the text continues a sentence about the release. Null if it can.
 * @param hint - How to build the release again. By default, how to do that with the live one.
 * @throws DeployError `ARTIFACT_UNUSABLE`
 */
export function assertArtifactUsable(
  { tool, version }: Release,
  why: string | null,
  hint = `Build it again: \`redeploy ${tool}\``,
): void {
  if (why !== null) throw new DeployError('ARTIFACT_UNUSABLE', `v${version} of ${tool} ${why}.`, hint);
}
