import type { ToolName } from '../../core/names.ts';
import type { Store } from '../../store/store.ts';

/** Fails the releases that did not go live, of deployments that have ended. */
export function failReleases(
  store: Pick<Store, 'createdReleases' | 'failRelease'>,
  tool: ToolName,
  hasEnded: (deploymentId: string) => boolean,
): void {
  for (const [version, deploymentId] of store.createdReleases(tool))
    if (hasEnded(deploymentId)) store.failRelease(tool, version);
}
