import type { ToolName } from '../core/names.ts';
import { parkedRef } from '../git/push/truthful-push.ts';
import { refNames } from '../git/refs/ref-files.ts';
import { updateRefs } from '../git/refs/ref-transaction.ts';
import { forgottenBelow } from '../store/tables/old-rows.ts';
import type { DeployContext } from './deploy-context.ts';
import { RELEASES, versionOf } from './reconciliation/read-back-releases.ts';

type Context = Pick<DeployContext, 'repositories' | 'store' | 'log'>;

const DAY_MS = 24 * 60 * 60 * 1000;
const PARKED_DAYS = 14;

/**
 * How many refs below `refs/deployments` a tool keeps at most, besides those of unfinished deployments. A deployment
 * that fails before its build leaves such a ref, and does not count as a build, so `builds_a_day` does not limit these
 * refs.
 */
const MAX_COMMITS = 1000;

/**
 * Deletes a tool's temporary refs of pushes that are older than 14 days. Of the younger refs below `refs/deployments`,
 * keeps only the newest 1,000 and those of unfinished deployments. While a temporary ref exists, git keeps its commit,
 * so a client can push the commit again without an upload.
 */
export async function dropOldParked(context: Context, tool: ToolName): Promise<void> {
  const { repositories, store } = context;
  const refs = await refNames(repositories, tool, ['refs/deployments', 'refs/parked']);
  const oldest = new Date(Date.now() - PARKED_DAYS * DAY_MS).toISOString().replace(/[-:]/g, '').slice(0, 8);
  const dayOf = (ref: string) => ref.split('/')[2] ?? '';
  // Sort the refs by age: their names contain the ids of deployments, which begin with a time.
  const commits = refs.filter((ref) => ref.startsWith('refs/deployments/')).sort();
  const unfinished = new Set(store.unfinishedDeployments().map(({ id }) => parkedRef(id)));
  const surplus = new Set(commits.slice(0, -MAX_COMMITS).filter((ref) => !unfinished.has(ref)));
  const old = refs.filter((ref) => dayOf(ref) < oldest || surplus.has(ref));
  await drop(context, tool, old, 'old parked pushes removed');
}

/**
 * Deletes the temporary refs of the tags of atomic pushes whose deployments ended with an earlier server. Keeps those
 * of resumed deployments and of the live release. Call this at a start, after the interrupted deployments have been
 * recorded as interrupted.
 */
export async function dropLeftTags(context: Context, tool: ToolName): Promise<void> {
  const { repositories, store } = context;
  const { liveVersion } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  const resumed = store.unfinishedDeployments().filter((deployment) => deployment.tool === tool);
  const kept = new Set([...resumed.map(({ id }) => id), live?.deploymentId]);
  const refs = await refNames(repositories, tool, ['refs/parked']);
  const left = refs.filter((ref) => !kept.has(ref.split('/')[2]));
  await drop(context, tool, left, 'temporary refs of tags of interrupted pushes removed');
}

/**
 * How many release refs a tool keeps at least. Older ones may be deleted, because every clone and push reads the names
 * of all refs, and each change of config vars adds a release ref.
 */
const MAX_RELEASE_REFS = 1000;
/** How many refs are deleted after one deployment, so that the next push does not wait for long. */
const DELETED_AT_ONCE = 2000;

/**
 * Deletes the refs of old releases that the store has forgotten. No rollback can use these releases. Keeps the newest
 * 1,000, because a store that was restored from an old backup lacks newer releases too.
 */
export async function dropOldReleaseRefs(context: Context, tool: ToolName): Promise<void> {
  const { repositories, store } = context;
  const refs = await refNames(repositories, tool, [RELEASES]);
  if (refs.length <= MAX_RELEASE_REFS) return;
  const known = store.releaseCommits(tool);
  const oldest = forgottenBelow(known.keys());
  const versions = refs.map(versionOf).sort((a, b) => a - b);
  const old = versions
    .slice(0, -MAX_RELEASE_REFS)
    .filter((version) => version > 0 && version < oldest && !known.has(version))
    .slice(0, DELETED_AT_ONCE)
    .map((version) => `${RELEASES}/v${version}`);
  await drop(context, tool, old, 'refs of old releases removed');
}

/** Deletes these refs, and writes `message` and their number into the server's log. Does nothing without refs. */
async function drop(
  { repositories, log }: Context,
  tool: ToolName,
  refs: readonly string[],
  message: string,
): Promise<void> {
  if (refs.length === 0) return;
  const deletions = refs.map((ref) => `delete ${ref}`);
  await updateRefs(repositories, tool, deletions);
  log.info({ tool, refs: refs.length }, message);
}
