import type { Progress } from '../core/progress.ts';
import { parkedRef } from '../git/push-session.ts';
import { updateRefs } from '../git/ref-transaction.ts';
import { branchName, isAncestor, pointHead, readDeployBranch } from '../git/refs.ts';
import type { Repositories } from '../git/repositories.ts';
import type { ParkedPush, Verdict } from './deployments.ts';
import type { Entry } from './entry.ts';

/**
 * The deployment that a push of the same commit may join; null where there is none, or where what comes after it makes
 * something else live: the push came last, and is what is live in the end, or in what is.
 *
 * @param line - What runs, then what waits, in the order of their turns.
 */
export async function joinable(
  repositories: Repositories,
  line: readonly Entry[],
  push: ParkedPush,
): Promise<Entry | null> {
  for (const entry of line.toReversed()) {
    const { request, commit, cancelling } = entry;
    switch (request.kind) {
      case 'push': {
        // Not one that moves another branch.
        const isSameBranch = request.push.branchRef === push.branchRef;
        if (commit === push.commit) return isSameBranch && !cancelling.signal.aborted ? entry : null;
        // What descends from the push has it in it.
        if (!isSameBranch || !(await isAncestor(repositories, push.tool, push.commit, commit))) return null;
        break;
      }
      case 'rollback':
        return null;
      // These deploy the commit that is live when their turn comes: the push may join what is before them, not them.
      case 'redeploy':
      case 'config':
      case 'restart':
      case 'scale':
        break;
      default:
        throw request satisfies never;
    }
  }
  return null;
}

/** The verdict for a push that joined this deployment; where only its author was refused, whoever joined may push again. */
export async function joinedVerdict(
  repositories: Repositories,
  push: ParkedPush,
  entry: Entry,
): Promise<Verdict> {
  const verdict = await entry.verdict;
  if (verdict.isLive || !entry.isRefused) return await withOtherRefs(repositories, push, verdict);
  const reason = `this push joined one that was refused; push again (${verdict.reason})`;
  return { isLive: false, reason };
}

/**
 * The verdict for a push whose commit went live without it (it joined another's deployment, or came when all was
 * done): its parked commit is let go, and with `--atomic` its other refs move now, or nothing is ok.
 */
async function withOtherRefs(
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
    const reason = `v${verdict.version} is live, but the refs of this push could not be moved; push again`;
    return { isLive: false, reason };
  }
}

/**
 * The verdict, in its turn, for a push of what is live. Where it came to another branch than the one that is there
 * (main of a tool that has master), that one gets this name, in one transaction.
 */
export async function alreadyLive(
  repositories: Repositories,
  { push, version }: { readonly push: ParkedPush; readonly version: number },
  progress: Progress,
): Promise<Verdict> {
  progress.result(`v${version} is live already`);
  const { tool, branchRef, commit } = push;
  const { ref, commit: old } = await readDeployBranch(repositories, tool);
  const live: Verdict = { isLive: true, version };
  // It may not have followed what is live: then this push moves it.
  const move = old === null ? `create ${branchRef} ${commit}` : `update ${branchRef} ${commit} ${old}`;
  if (old === null || (ref === branchRef && old !== commit))
    return await withOtherRefs(repositories, { ...push, withUpdates: [move, ...push.withUpdates] }, live);
  if (ref === branchRef) return await withOtherRefs(repositories, push, live);
  const withUpdates = [`create ${branchRef} ${commit}`, `delete ${ref} ${old}`, ...push.withUpdates];
  const verdict = await withOtherRefs(repositories, { ...push, withUpdates }, live);
  if (!verdict.isLive) return verdict;
  await pointHead(repositories, tool, branchRef);
  progress.line(`${branchName(branchRef)} takes the place of ${branchName(ref)}`);
  return verdict;
}
