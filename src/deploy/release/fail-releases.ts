import type { ToolName } from '../../core/names.ts';
import type { Store } from '../../store/store.ts';

/** Marks releases as failed if they did not go live and their deployment has ended. */
export function failReleases(
  store: Pick<Store, 'createdReleases' | 'failRelease'>,
  tool: ToolName,
  hasEnded: (deploymentId: string) => boolean,
): void {
  for (const [version, deploymentId] of store.createdReleases(tool))
    if (hasEnded(deploymentId)) store.failRelease(tool, version);
}
