import type { ToolName } from '../core/names.ts';
import { refNames } from '../git/refs/ref-files.ts';
import { updateRefs } from '../git/refs/ref-transaction.ts';
import type { DeployContext } from './deploy-context.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const PARKED_DAYS = 14;

/**
 * Deletes the temporary refs of pushes that are older than 14 days. Until then, git keeps the commits of these pushes,
 * so a client can push them again without an upload.
 */
export async function dropOldParked(
  { repositories, log }: Pick<DeployContext, 'repositories' | 'log'>,
  tool: ToolName,
): Promise<void> {
  const refs = await refNames(repositories, tool, ['refs/deployments', 'refs/parked']);
  const oldest = new Date(Date.now() - PARKED_DAYS * DAY_MS).toISOString().replace(/[-:]/g, '').slice(0, 8);
  const old = refs.filter((ref) => (ref.split('/')[2] ?? '') < oldest);
  if (old.length === 0) return;
  await updateRefs(
    repositories,
    tool,
    old.map((ref) => `delete ${ref}`),
  );
  log.info({ tool, refs: old.length }, 'old parked pushes removed');
}
