import { updateRefs } from '../git/refs.ts';
import type { Repositories } from '../git/repositories.ts';
import type { ParkedPush, Verdict } from './deployments.ts';

/** The verdict for a push that joined another's deployment: with `--atomic` its other refs move now, or nothing is ok. */
export async function withOtherRefs(
  repositories: Repositories,
  push: ParkedPush,
  verdict: Verdict,
): Promise<Verdict> {
  if (!verdict.isLive || push.withUpdates.length === 0) return verdict;
  try {
    await updateRefs(repositories, push.tool, push.withUpdates);
    return verdict;
  } catch {
    const reason = `v${verdict.version} is live, but the other refs of this push have moved meanwhile; push them again`;
    return { isLive: false, reason };
  }
}
