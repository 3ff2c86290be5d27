import { parkedRef } from '../git/push-session.ts';
import { updateRefs } from '../git/refs.ts';
import type { Repositories } from '../git/repositories.ts';
import type { ParkedPush, Verdict } from './deployments.ts';

/**
 * The verdict for a push whose commit went live without it (it joined another's deployment, or came when all was
 * done): its parked commit is let go, and with `--atomic` its other refs move now, or nothing is ok.
 */
export async function withOtherRefs(
  repositories: Repositories,
  push: ParkedPush,
  verdict: Verdict,
): Promise<Verdict> {
  if (!verdict.isLive) return verdict;
  try {
    const parked = `delete ${parkedRef(push.id)} ${push.commit}`;
    await updateRefs(repositories, push.tool, [...push.withUpdates, parked]);
    return verdict;
  } catch {
    // The parked commit goes with the old ones.
    if (push.withUpdates.length === 0) return verdict;
    const reason = `v${verdict.version} is live, but the other refs of this push have moved meanwhile; push them again`;
    return { isLive: false, reason };
  }
}
