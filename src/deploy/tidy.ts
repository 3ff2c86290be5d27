import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ToolName } from '../core/names.ts';
import type { Deployment } from '../core/types.ts';
import type { Store } from '../store/store.ts';
import type { DeployContext } from './deploy.ts';
import { dropOldParked } from './parked.ts';

export interface TidyOptions extends DeployContext {
  /** Newest releases whose artifacts are kept. */
  readonly keepArtifacts: number;
  /** Runs `work` while no push is being received: objects must not be removed beside one. */
  readonly whileIdle: (tool: ToolName, work: () => Promise<void>) => Promise<void>;
  /** Drops what a push had parked beside its commit and, where told, its commit too. */
  readonly forgetParked: (tool: ToolName, id: string, withCommit: boolean) => Promise<void>;
}

// Loose objects from which git packs: its own default (git-gc(1), gc.auto) would start in the middle of busy days.
const LOOSE_OBJECTS = 2000;

/**
 * After a deployment has ended: artifacts that no kept release runs are removed, a shallow push that failed leaves no
 * cut-off points behind, and git packs its objects when it is worth it and nobody pushes.
 */
export async function tidy(options: TidyOptions, deployment: Deployment): Promise<void> {
  const { repositories, store } = options;
  const { tool, id } = deployment;
  await removeArtifacts(options, tool);
  await options.whileIdle(tool, async () => {
    const isLive = store.deployment(id)?.state === 'live';
    const isShallow = existsSync(join(repositories.folder(tool), 'shallow'));
    if (deployment.kind === 'push' && !isLive) await options.forgetParked(tool, id, isShallow);
    await dropOldParked(options, tool);
    // Only what is not reachable any more loses its cut-off points (git-prune(1)).
    if (isShallow && !isLive) await repositories.git(tool, ['prune', '--expire=now']);
    await repositories.git(tool, [
      '-c',
      `gc.auto=${LOOSE_OBJECTS}`,
      '-c',
      'gc.autoDetach=false',
      'gc',
      '--auto',
      '--quiet',
    ]);
  });
}

/** The live release's artifact and those of the newest releases stay, and what was built last, for a push again. */
async function removeArtifacts(
  { store, builder, keepArtifacts, log }: TidyOptions,
  tool: ToolName,
): Promise<void> {
  const built = store.builds(tool, 10_000).filter(({ artifact }) => artifact !== null);
  for (const { id } of built.slice(2)) {
    // Asked for each: while one is being removed, a rollback may begin to run another.
    if (isUsed(id, tool, store, keepArtifacts)) continue;
    store.forgetArtifact(id);
    await builder.remove(tool, id);
    log.info({ tool, artifact: id }, 'artifact removed');
  }
}

function isUsed(artifactId: string, tool: ToolName, store: Store, keepArtifacts: number): boolean {
  const releases = store.releases(tool, 10_000).filter(({ state }) => state !== 'failed');
  const { liveVersion } = store.tool(tool);
  const isRun = releases.some(
    ({ artifact, version, state }, index) =>
      artifact.id === artifactId && (index < keepArtifacts || version === liveVersion || state === 'created'),
  );
  return isRun || store.unfinishedDeployments().some(({ id }) => id === artifactId);
}
