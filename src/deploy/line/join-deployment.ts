import type { Progress } from '../../core/progress.ts';
import { parkedFolder, parkedRef } from '../../git/push/truthful-push.ts';
import { branchName, isAncestor, pointHead, readDeployBranch } from '../../git/refs/deploy-branch.ts';
import { deleteRefs, updateRefs } from '../../git/refs/ref-transaction.ts';
import type { Repositories } from '../../git/repositories.ts';
import type { ParkedPush, Verdict } from '../deployments.ts';
import type { Entry } from './line-entry.ts';

/**
 * Returns the queued or running deployment that a push of the same commit may join. Null if no deployment builds this
 * commit, if the deployment is being cancelled or moves another branch, or if a later entry may make a commit live that
 * does not contain the pushed commit.
 *
 * @param line - The running entry, then the waiting entries, in the order of their turns.
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
        // Return null if this entry moves another branch, because a push cannot join such a deployment.
        const isSameBranch = request.push.branchRef === push.branchRef;
        if (commit === push.commit) return isSameBranch && !cancelling.signal.aborted ? entry : null;
        // If the history of this entry's commit lacks the pushed commit, this entry replaces the pushed commit, so the
        // push must not join an entry before it. If the history has the pushed commit, look at the entry before this
        // one.
        if (!isSameBranch || !(await isAncestor(repositories, push.tool, push.commit, commit))) return null;
        break;
      }
      case 'rollback':
      case 'promote':
        return null;
      // A redeploy, a change of config vars, a restart and a scale keep the commit that is live when their turn comes.
      // So the push may still join an entry that stands before such an entry in the queue.
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

/**
 * Waits for the end of a deployment, and returns the result for a push that joined it. If the deployment was refused
 * because its author's right to deploy was not confirmed, the result asks the person who joined to push again.
 */
export async function joinedVerdict(
  repositories: Repositories,
  push: ParkedPush,
  entry: Entry,
): Promise<Verdict> {
  const verdict = await entry.verdict;
  if (verdict.isLive) return await withOtherRefs(repositories, push, verdict);
  // Delete the temporary refs of this push. git still keeps the commit, because the temporary ref of the joined
  // deployment names it.
  await forget(repositories, push);
  if (!entry.isRefused) return verdict;
  const reason = `this push joined another push, which was refused; push again (${verdict.reason})`;
  return { isLive: false, reason };
}

/**
 * Returns the result for a push whose commit another deployment has made live. Deletes the push's temporary ref and
 * runs `withUpdates`: the tags of an atomic push and, if the deploy branch does not name the live commit yet, the move
 * of this branch. If git refuses `withUpdates`, the result says that the push has failed, although the commit is live.
 */
async function withOtherRefs(
  repositories: Repositories,
  push: ParkedPush,
  verdict: Extract<Verdict, { isLive: true }>,
): Promise<Verdict> {
  try {
    const parked = `delete ${parkedRef(push.id)} ${push.commit}`;
    await updateRefs(repositories, push.tool, [...push.withUpdates, parked]);
    return verdict;
  } catch {
    // Without `withUpdates`, only the deletion of the push's temporary ref has failed. So the verdict stays:
    // `dropOldParked` deletes this ref later.
    if (push.withUpdates.length === 0) return verdict;
    await forget(repositories, push);
    const reason = `v${verdict.version} is live, but the refs of this push could not be moved; push again`;
    return { isLive: false, reason };
  }
}

/**
 * Deletes the temporary refs of a push that has no deployment of its own. A person can make such pushes as often as
 * they like, so their refs must not pile up. If git refuses the deletion, `dropOldParked` deletes the refs later.
 */
async function forget(repositories: Repositories, { tool, id }: ParkedPush): Promise<void> {
  await deleteRefs(repositories, tool, [parkedRef(id), parkedFolder(id)]).catch(() => undefined);
}

/**
 * Returns the result for a push of the commit that is live already. Moves the deploy branch to this commit if needed.
 * If the deploy branch is master and this push is to main, one transaction replaces master by main.
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
  // If the deploy branch does not name the live commit yet, this push moves the branch.
  const move = old === null ? `create ${branchRef} ${commit}` : `update ${branchRef} ${commit} ${old}`;
  if (old === null || (ref === branchRef && old !== commit))
    return await withOtherRefs(repositories, { ...push, withUpdates: [move, ...push.withUpdates] }, live);
  if (ref === branchRef) return await withOtherRefs(repositories, push, live);
  const withUpdates = [`create ${branchRef} ${commit}`, `delete ${ref} ${old}`, ...push.withUpdates];
  const verdict = await withOtherRefs(repositories, { ...push, withUpdates }, live);
  if (!verdict.isLive) return verdict;
  await pointHead(repositories, tool, branchRef);
  progress.line(`The server now has the branch ${branchName(branchRef)} instead of ${branchName(ref)}`);
  return verdict;
}
