import { timeStamp } from '../../core/disk/set-aside.ts';
import type { ToolName } from '../../core/names.ts';
import type { Release } from '../../core/types.ts';
import { branchName, type DeployBranch, pointHead, readDeployBranch } from '../../git/refs/deploy-branch.ts';
import { readRefs, refNames } from '../../git/refs/ref-files.ts';
import { updateRefs } from '../../git/refs/ref-transaction.ts';
import type { Repositories } from '../../git/repositories.ts';
import type { DeployContext } from '../deploy-context.ts';
import { RELEASES, versionOf } from './read-back-releases.ts';

/**
 * Makes the deploy branch and the ref of the live release name the live commit. Deletes no branch. Moves nothing if the
 * repository lacks the live commit, or has a ref of a newer release than the live one.
 *
 * @throws Error if git cannot move the refs.
 */
export async function followLive(context: DeployContext, name: ToolName): Promise<void> {
  const behind = await findBehind(context, name);
  if (behind === null) return;
  const { live, branch } = behind;
  await moveRefs(context, live);
  // Read the branch again, because another deployment may have created it while `moveRefs` was running.
  const { ref, commit } = await readDeployBranch(context.repositories, name);
  if (commit !== null) await pointHead(context.repositories, name, ref);
  context.log.warn({ tool: name, from: branch.commit, to: live.commit }, 'branch moved to the live release');
}

/**
 * Compares the refs with the live release. Returns this release, the deploy branch, and the commands that make the refs
 * agree with the release. Null if the refs agree already, or if nothing is live. Null too, and an error in the log, if
 * the repository lacks the live commit or has a ref of a newer release than the live one.
 */
async function findBehind(
  { store, repositories, log }: DeployContext,
  name: ToolName,
): Promise<{ readonly live: Release; readonly branch: DeployBranch; readonly lines: string[] } | null> {
  const { liveVersion } = store.tool(name);
  const live = liveVersion === null ? null : store.release(name, liveVersion);
  const branch = await readDeployBranch(repositories, name);
  if (live === null) {
    if (branch.commit !== null)
      log.error({ tool: name, ref: branch.ref }, 'branch of a tool that has no release in the store');
    return null;
  }
  const names = await refNames(repositories, name, [RELEASES]);
  const newest = Math.max(0, ...names.map(versionOf));
  if (newest > live.version) {
    log.error({ tool: name, live: live.version, newest }, 'repository has releases that the store lacks');
    return null;
  }
  const release = `${RELEASES}/v${live.version}`;
  const recorded = (await readRefs(repositories, name, [release])).get(release);
  // Compare both the branch and the ref of the live release with the live commit. After a change of config vars, the
  // branch already names the commit, but the new release has no ref yet.
  if (live.commit === branch.commit && live.commit === recorded) return null;
  if (await isLost(repositories, live)) {
    log.error(
      { tool: name, live: live.version, commit: live.commit },
      'repository lacks the commit that is live: its maintainers have to push their history again',
    );
    return null;
  }
  const refs = await readRefs(repositories, name, names);
  const lines = [
    ...keepUnknown(branch, live, new Set(refs.values())),
    `update ${branch.ref} ${live.commit}`,
    `update ${release} ${live.commit}`,
  ];
  return { live, branch, lines };
}

/**
 * True if the tool has no repository, or if its repository lacks the commit, for example because the repository was
 * created again.
 */
export async function isLost(
  repositories: Repositories,
  { tool, commit }: Pick<Release, 'tool' | 'commit'>,
): Promise<boolean> {
  if (!repositories.exists(tool)) return true;
  const answer = await repositories.git(tool, ['cat-file', '--batch-check'], { input: `${commit}\n` });
  return answer.endsWith(' missing');
}

/**
 * Returns a command that keeps the branch's commit under `refs/set-aside`, or none if a release's ref names this
 * commit. Without a ref, the commit would be lost when the branch moves.
 */
function keepUnknown(branch: DeployBranch, live: Release, known: ReadonlySet<string>): string[] {
  const { commit, ref } = branch;
  if (commit === null || commit === live.commit || known.has(commit)) return [];
  return [`create refs/set-aside/${timeStamp(Date.now())}/${branchName(ref)} ${commit}`];
}

/**
 * Moves the branch and the release's ref together with the tags of an atomic push. If git refuses this, moves only the
 * branch and the release's ref. `updateRefs` gets a function that makes the commands as late as possible, because
 * another deployment may go live while this update waits.
 */
async function moveRefs(context: DeployContext, { tool, deploymentId }: Release): Promise<void> {
  const { store, repositories, log } = context;
  const linesWith = (others: readonly string[]) => async () => {
    const behind = await findBehind(context, tool);
    if (behind === null) return [];
    return behind.live.deploymentId === deploymentId ? [...behind.lines, ...others] : behind.lines;
  };
  const request = store.requestOf(deploymentId);
  const others = request?.kind === 'push' ? request.withUpdates : [];
  try {
    await updateRefs(repositories, tool, linesWith(others));
  } catch (err) {
    if (others.length === 0) throw err;
    log.warn({ err, tool, deployment: deploymentId }, 'cannot move the other refs of an atomic push');
    await updateRefs(repositories, tool, linesWith([]));
  }
}
