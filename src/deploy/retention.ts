import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { CleanUpHold } from '../core/concurrency/clean-up-hold.ts';
import type { ToolName } from '../core/names.ts';
import type { Deployment } from '../core/types.ts';
import type { Repositories } from '../git/repositories.ts';
import type { Store } from '../store/store.ts';
import type { DeployContext } from './deploy-context.ts';
import type { DeploymentLogs } from './deployment-log.ts';
import { dropOldParked, dropOldReleaseRefs } from './old-refs.ts';

export interface RetentionOptions extends DeployContext {
  readonly logs: DeploymentLogs;
  /** How many of the newest released builds keep their artifacts. Several releases of one build count once. */
  readonly keepArtifacts: number;
  /**
   * Returns how many bytes the artifacts of the `keepArtifacts` newest builds may have together. If they have more, the
   * oldest are removed. By default, there is no such limit.
   */
  readonly mostBytes?: () => Promise<number>;
  /**
   * Skips the clean-up while a backup or an export is made. The clean-up after the tool's next deployment does what was
   * skipped.
   */
  readonly cleanUp: Pick<CleanUpHold, 'unlessHeld'>;
  /** Runs `work` while no push of the tool is running, because a push may need objects that `work` removes. */
  readonly whileIdle: (tool: ToolName, work: () => Promise<void>) => Promise<void>;
  /**
   * The longest time, in milliseconds, that the removal of artifacts and logs waits for the clean-up of the repository,
   * which itself waits for open pushes. By default 60,000.
   */
  readonly heldMs?: number;
  /** Deletes the temporary refs of a push's tags and, if `withCommit`, the temporary ref of its commit too. */
  readonly forgetParked: (tool: ToolName, id: string, withCommit: boolean) => Promise<void>;
}

// The number of loose objects above which git packs a repository. git's own default is 6700 (git-gc(1), gc.auto). With
// a smaller number, each packing takes less time.
const LOOSE_OBJECTS = 2000;
// The number of packs above which git merges them: git's default for gc.autoPackLimit.
const PACKS = 50;
const HELD_MS = 60_000;
/**
 * Cleans up after a deployment. Removes old artifacts, logs, rows of the store, copies of releases and temporary refs,
 * and the shallow boundaries of a failed shallow push. Lets git pack a repository with many loose objects or packs. All
 * work on the repository waits until no push of the tool is running.
 */
export async function applyRetention(options: RetentionOptions, deployment: Deployment): Promise<void> {
  const { tool } = deployment;
  const { cleanUp } = options;
  const repository = options.whileIdle(tool, () =>
    cleanUp.unlessHeld(() => tidyRepository(options, deployment)),
  );
  try {
    // The clean-up of the repository begins when no push is running. Remove artifacts after it, so that no client waits
    // for their removal. Limit the wait, because a push may stay open for hours.
    await Promise.race([repository, wait(options.heldMs ?? HELD_MS, null, { ref: false })]);
  } finally {
    try {
      await cleanUp.unlessHeld(() => removeArtifacts(options, tool));
    } finally {
      await cleanUp.unlessHeld(() => dropOldRecords(options, tool));
    }
  }
  await repository;
}

/**
 * Deletes old copies of releases, surplus logs and old rows of the store. Keeps the log of a build whose artifact is
 * kept, of a deployment that has not ended, and of a deployment that the store does not know.
 */
async function dropOldRecords({ store, logs }: RetentionOptions, tool: ToolName): Promise<void> {
  store.dropOldCopies(tool);
  // With 0, no log is deleted because of its age. `OldLogs` deletes the logs that are too old.
  await logs.dropOld(tool, (id) => mayLogGo(store, tool, id), 0);
  store.dropOldRows(tool, Date.now());
}

/**
 * True if the log of the deployment `id` may be deleted. False for a build whose artifact is kept, and for a deployment
 * that has not ended or that the store does not know.
 */
export function mayLogGo(store: Store, tool: ToolName, id: string): boolean {
  const deployment = store.deployment(id);
  return deployment?.tool === tool && deployment.endedAt !== null && !store.build(id)?.artifact;
}

async function tidyRepository(options: RetentionOptions, deployment: Deployment): Promise<void> {
  const { repositories, store } = options;
  const { tool, id } = deployment;
  const isLive = store.deployment(id)?.state === 'live';
  const isShallow = existsSync(join(repositories.folder(tool), 'shallow'));
  if (deployment.kind === 'push' && !isLive) await options.forgetParked(tool, id, isShallow);
  await dropOldParked(options, tool);
  await dropOldReleaseRefs(options, tool);
  // Remove the shallow boundaries that a failed shallow push left. git-prune(1) keeps the boundaries at reachable
  // commits.
  if (isShallow && !isLive) await repositories.git(tool, ['prune', '--expire=now']);
  await mergePacks(repositories, tool);
}

/**
 * `git gc` is killed after this time, because a backup waits for `git gc`, which can take hours in a hostile
 * repository.
 */
const GC_MS = 15 * 60 * 1000;

/**
 * Lets git pack the repository if it has many packs or loose objects, unless git is packing another repository: each
 * packing can keep a processor busy for minutes. If it is skipped, the tool's next deployment tries again. Call this
 * only while no push to the tool is running.
 */
export async function mergePacks(repositories: Repositories, tool: ToolName): Promise<void> {
  await repositories.turns.mergeAlone(async () => {
    if (await mayNeedGc(repositories.folder(tool))) await packRepository(repositories, tool);
  });
}

async function packRepository(repositories: Repositories, tool: ToolName): Promise<void> {
  const settings = [
    ['gc.auto', String(LOOSE_OBJECTS)],
    ['gc.autoDetach', 'false'],
    ['gc.packRefs', 'false'],
    // Let git put the objects that no ref needs into a pack. Otherwise git writes each such object into a separate
    // file, and not as a delta. A pack of a few megabytes with many deltas would then fill the disk. From version 2.41
    // on, this setting is the default of git.
    ['gc.cruftPacks', 'true'],
  ] as const;
  await repositories.git(tool, ['gc', '--auto', '--quiet'], { settings, signal: AbortSignal.timeout(GC_MS) });
  await packRefs(repositories, tool);
}

/** `git pack-refs` is killed after this time, because the server cannot change the tool's refs while it runs. */
const PACKING_MS = 2 * 60 * 1000;

/**
 * Packs the tool's refs. Meanwhile, `takeRefs` keeps the server's own changes of refs waiting. Otherwise, such a change
 * could delete the lock file of `git pack-refs`, because the file looks like one that a killed git left.
 */
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

/**
 * True if there are so many packs or loose objects that `git gc --auto` (builtin/gc.c) would pack them. Counts like
 * git, but without starting git: the loose objects of one of 256 folders, because ids spread evenly over the folders.
 */
async function mayNeedGc(repository: string): Promise<boolean> {
  const [sample, packs] = await Promise.all(
    ['17', 'pack'].map((name) => readdir(join(repository, 'objects', name)).catch(() => [])),
  );
  const packCount = packs?.filter((name) => name.endsWith('.pack')).length ?? 0;
  return (sample?.length ?? 0) > LOOSE_OBJECTS / 256 || packCount > PACKS;
}

/**
 * Removes old artifacts. Keeps those of the live release, of unfinished deployments, of processes that still run, and
 * of the newest released builds, up to `keepArtifacts` and `mostBytes`. Keeps the two newest artifacts too, because
 * another push may use them.
 */
async function removeArtifacts(
  { store, builder, runtime, keepArtifacts, mostBytes, log }: RetentionOptions,
  tool: ToolName,
): Promise<void> {
  // The bytes of each artifact, by its id. Each is read only once, because to read the record of a large artifact takes
  // long.
  const sizes = new Map<string, number>();
  const sizeOf = (id: string): number => {
    const size = sizes.get(id) ?? store.build(id)?.artifact?.bytes ?? 0;
    sizes.set(id, size);
    return size;
  };
  const keep = { count: keepArtifacts, bytes: (await mostBytes?.()) ?? Number.POSITIVE_INFINITY, sizeOf };
  const used = usedArtifacts(tool, store, keep);
  for (const id of store.buildsWithArtifact(tool).slice(2)) {
    // `usedArtifacts` is called again before each removal, because a rollback may have begun to use the artifact.
    if (used.has(id) || usedArtifacts(tool, store, keep).has(id)) continue;
    if (runtime.artifactsInUse(tool).has(id)) continue;
    store.forgetArtifact(id);
    await builder.remove(tool, id, (other) => mayBeNeeded(store, other));
    log.info({ tool, artifact: id }, 'artifact removed');
  }
}

/** True unless the build `id` has ended and its artifact was removed. True also for a build that the store lacks. */
function mayBeNeeded(store: Store, id: string): boolean {
  const build = store.build(id);
  return build === null || build.artifact !== null || build.endedAt === null;
}

function usedArtifacts(
  tool: ToolName,
  store: Store,
  keep: { readonly count: number; readonly bytes: number; readonly sizeOf: (id: string) => number },
): ReadonlySet<string> {
  const releases = store.artifactIds(tool).filter(({ state }) => state !== 'failed');
  const { liveVersion } = store.tool(tool);
  const run = releases.filter(({ version, state }) => version === liveVersion || state === 'created');
  // A change of config vars or a rollback makes another release of the same build, so each build counts once.
  const newest = [...new Set(releases.map(({ artifact }) => artifact))].slice(0, keep.count);
  let bytes = 0;
  const withRoom = newest.filter((id) => {
    bytes += keep.sizeOf(id);
    return bytes <= keep.bytes;
  });
  return new Set([
    ...withRoom,
    ...run.map(({ artifact }) => artifact),
    ...store.unfinishedDeployments().map(({ id }) => id),
  ]);
}
