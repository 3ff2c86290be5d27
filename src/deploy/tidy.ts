import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ToolName } from '../core/names.ts';
import type { Deployment } from '../core/types.ts';
import type { Repositories } from '../git/repositories.ts';
import type { Store } from '../store/store.ts';
import type { DeployContext } from './deploy-context.ts';
import type { DeploymentLogs } from './deployment-log.ts';
import { dropOldParked } from './parked.ts';

export interface TidyOptions extends DeployContext {
  readonly logs: DeploymentLogs;
  /** Newest builds that were released whose artifacts are kept, however many releases each has. */
  readonly keepArtifacts: number;
  /** Runs `work` while no push is being received: objects must not be removed beside one. */
  readonly whileIdle: (tool: ToolName, work: () => Promise<void>) => Promise<void>;
  /** Drops what a push had parked beside its commit and, where told, its commit too. */
  readonly forgetParked: (tool: ToolName, id: string, withCommit: boolean) => Promise<void>;
}

// Loose objects from which git packs: its own default (git-gc(1), gc.auto) would start in the middle of busy days.
const LOOSE_OBJECTS = 2000;
// gc.autoPackLimit, as it is unless set.
const PACKS = 50;

/**
 * After a deployment has ended: artifacts that no kept release runs are removed, and so are old logs and old copies of
 * releases; a shallow push that failed leaves no cut-off points behind, and git packs its objects when it is worth it
 * and nobody pushes.
 */
export async function tidy(options: TidyOptions, deployment: Deployment): Promise<void> {
  const { tool } = deployment;
  try {
    // First what waits for the end of the push: until then its client is waiting for this process.
    await options.whileIdle(tool, () => tidyRepository(options, deployment));
  } finally {
    try {
      await removeArtifacts(options, tool);
    } finally {
      await dropOldRecords(options, tool);
    }
  }
}

/** The log of a build whose artifact is kept stays. */
async function dropOldRecords({ store, logs }: TidyOptions, tool: ToolName): Promise<void> {
  store.dropOldCopies(tool);
  await logs.dropOld(tool, (id) => {
    const deployment = store.deployment(id);
    return deployment?.tool === tool && deployment.endedAt !== null && !store.build(id)?.artifact;
  });
}

async function tidyRepository(options: TidyOptions, deployment: Deployment): Promise<void> {
  const { repositories, store } = options;
  const { tool, id } = deployment;
  const isLive = store.deployment(id)?.state === 'live';
  const isShallow = existsSync(join(repositories.folder(tool), 'shallow'));
  if (deployment.kind === 'push' && !isLive) await options.forgetParked(tool, id, isShallow);
  await dropOldParked(options, tool);
  // Only what is not reachable any more loses its cut-off points (git-prune(1)).
  if (isShallow && !isLive) await repositories.git(tool, ['prune', '--expire=now']);
  if (!(await mayNeedGc(repositories.folder(tool)))) return;
  const settings = [
    ['gc.auto', String(LOOSE_OBJECTS)],
    ['gc.autoDetach', 'false'],
    ['gc.packRefs', 'false'],
  ] as const;
  await repositories.git(tool, ['gc', '--auto', '--quiet'], { settings });
  await packRefs(repositories, tool);
}

/** `git pack-refs` is killed after this, because nothing else can change refs meanwhile. */
const PACKING_MS = 2 * 60 * 1000;

/** In the turn to change refs: whoever has the turn takes a lock that it finds for one of a git that was killed. */
async function packRefs(repositories: Repositories, tool: ToolName): Promise<void> {
  const letGo = await repositories.takeRefs(tool);
  try {
    await repositories.git(tool, ['pack-refs', '--all', '--prune'], {
      signal: AbortSignal.timeout(PACKING_MS),
    });
  } finally {
    letGo();
  }
}

/** What git looks at first, without starting it for each push (builtin/gc.c): its ids are spread evenly over 256 folders. */
async function mayNeedGc(repository: string): Promise<boolean> {
  const [sample, packs] = await Promise.all(
    ['17', 'pack'].map((name) => readdir(join(repository, 'objects', name)).catch(() => [])),
  );
  const packCount = packs?.filter((name) => name.endsWith('.pack')).length ?? 0;
  return (sample?.length ?? 0) > LOOSE_OBJECTS / 256 || packCount > PACKS;
}

/** The live release's artifact and those of the newest released builds stay, and what was built last, for a push again. */
async function removeArtifacts(
  { store, builder, runtime, keepArtifacts, log }: TidyOptions,
  tool: ToolName,
): Promise<void> {
  const built = store.builds(tool, 10_000).filter(({ artifact }) => artifact !== null);
  const used = usedArtifacts(tool, store, keepArtifacts);
  for (const { id } of built.slice(2)) {
    // Asked again for each that goes: while one is being removed, a rollback may begin to run another.
    if (used.has(id) || usedArtifacts(tool, store, keepArtifacts).has(id)) continue;
    if (runtime.artifactsInUse(tool).has(id)) continue;
    store.forgetArtifact(id);
    await builder.remove(tool, id);
    log.info({ tool, artifact: id }, 'artifact removed');
  }
}

function usedArtifacts(tool: ToolName, store: Store, keepArtifacts: number): ReadonlySet<string> {
  const releases = store.releases(tool, 10_000).filter(({ state }) => state !== 'failed');
  const { liveVersion } = store.tool(tool);
  const run = releases.filter(({ version, state }) => version === liveVersion || state === 'created');
  // A config var or a rollback makes a release of a build that is there: it takes no place of another.
  const newest = [...new Set(releases.map(({ artifact }) => artifact.id))].slice(0, keepArtifacts);
  return new Set([
    ...newest,
    ...run.map(({ artifact }) => artifact.id),
    ...store.unfinishedDeployments().map(({ id }) => id),
  ]);
}
