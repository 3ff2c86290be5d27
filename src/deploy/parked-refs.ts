import type { ToolName } from '../core/names.ts';
import { parkedRef } from '../git/push/truthful-push.ts';
import { refNames } from '../git/refs/ref-files.ts';
import { updateRefs } from '../git/refs/ref-transaction.ts';
import type { DeployContext } from './deploy-context.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const PARKED_DAYS = 14;

/**
 * How many temporary refs of commits a tool keeps. A deployment that fails before its build leaves one, and no limit of
 * builds counts it.
 */
const MAX_COMMITS = 1000;

/**
 * Deletes the temporary refs of pushes that are older than 14 days, and all but the newest 1,000 of commits. Until
 * then, git keeps the commits of these pushes, so a client can push them again without an upload.
 */
export async function dropOldParked(
  { repositories, store, log }: Pick<DeployContext, 'repositories' | 'store' | 'log'>,
  tool: ToolName,
): Promise<void> {
  const refs = await refNames(repositories, tool, ['refs/deployments', 'refs/parked']);
  const oldest = new Date(Date.now() - PARKED_DAYS * DAY_MS).toISOString().replace(/[-:]/g, '').slice(0, 8);
  const dayOf = (ref: string) => ref.split('/')[2] ?? '';
  // The ids of deployments begin with their time.
  const commits = refs.filter((ref) => ref.startsWith('refs/deployments/')).sort();
  const unfinished = new Set(store.unfinishedDeployments().map(({ id }) => parkedRef(id)));
  const surplus = new Set(commits.slice(0, -MAX_COMMITS).filter((ref) => !unfinished.has(ref)));
  const old = refs.filter((ref) => dayOf(ref) < oldest || surplus.has(ref));
  if (old.length === 0) return;
  await updateRefs(
    repositories,
    tool,
    old.map((ref) => `delete ${ref}`),
  );
  log.info({ tool, refs: old.length }, 'old parked pushes removed');
}
