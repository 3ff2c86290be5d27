import { DeployError } from './errors.ts';
import type { Release } from './types.ts';

/**
 * Checks that the artifact of an existing release can run with the present settings of this server.
 *
 * @param why - Why the artifact cannot run, as the back end says: the text after `v3 of TOOL`. Null if it can run.
 * @param hint - Tells the person how to build the release again. The default is right only for the live release.
 * @throws DeployError `ARTIFACT_UNUSABLE` unless `why` is null.
 */
export function assertArtifactUsable(
  { tool, version }: Release,
  why: string | null,
  hint = `Build the release again: \`redeploy ${tool}\``,
): void {
  if (why !== null) throw new DeployError('ARTIFACT_UNUSABLE', `v${version} of ${tool} ${why}`, hint);
}
