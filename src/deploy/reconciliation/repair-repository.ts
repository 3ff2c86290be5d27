import type { SetAside } from '../../core/disk/set-aside.ts';
import type { ToolName } from '../../core/names.ts';
import { findTorn, setTornAside } from '../../git/refs/torn-refs.ts';
import type { DeployContext } from '../deploy-context.ts';
import { followLive } from './follow-live.ts';
import { restoreReleaseRefs } from './read-back-releases.ts';

/**
 * Repairs a repository whose refs or settings files were damaged while the server runs. Moves or copies the damaged
 * files to the folder `set-aside`. Then creates the deploy branch and the refs of releases again from the store, if
 * they are lost.
 */
export async function repairRepository(
  context: DeployContext,
  tool: ToolName,
  setAside: SetAside,
): Promise<void> {
  const { repositories, log } = context;
  const letGo = await repositories.takeRefs(tool);
  try {
    const torn = await findTorn(repositories, tool, 'all');
    const damaged = await setTornAside(repositories, tool, setAside, torn);
    for (const part of damaged) log.warn(part, 'damaged part of a repository set aside');
  } finally {
    letGo();
  }
  await restoreReleaseRefs(context, tool);
  await followLive(context, tool);
}
