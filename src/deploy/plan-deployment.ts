import { isDeepStrictEqual } from 'node:util';
import type { Builder } from '../builder/builder.ts';
import { DeployError } from '../core/errors.ts';
import { short } from '../core/names.ts';
import { replicasLine } from '../core/replicas.ts';
import type { Artifact, Release } from '../core/types.ts';
import {
  changeConfigVars,
  changedNames,
  changeInShort,
  changesInWords,
} from '../core/variables/config-changes.ts';
import { assertConfigured } from '../core/variables/required-config.ts';
import { branchName, isAncestor, readDeployBranch } from '../git/refs/deploy-branch.ts';
import type { Repositories } from '../git/repositories.ts';
import type { DeployContext, DeployPlan } from './deploy-context.ts';
import type { DeploymentLog } from './deployment-log.ts';
import type { ParkedPush } from './deployments.ts';
import type { Entry } from './line/line-entry.ts';
import { commitLost } from './line/line-refusals.ts';
import { takePromoted } from './promotion.ts';
import { isLost } from './reconciliation/follow-live.ts';
import { liveRelease, outsideVarsOf } from './release/live-release.ts';
import { askedAfter, assertRuns, assertScalable } from './release/planned-replicas.ts';
import { rollbackTarget } from './release/rollback-target.ts';
import type { ScalePlan } from './release/scale-release.ts';

export type Planned =
  | { readonly kind: 'go'; readonly plan: DeployPlan }
  | { readonly kind: 'scale'; readonly plan: ScalePlan }
  | { readonly kind: 'live-already'; readonly version: number; readonly push: ParkedPush };

/** The parts of a queue entry that decide the plan of its deployment, and the log to which `planDeployment` writes. */
type ToPlan = Pick<Entry, 'deployment' | 'request' | 'principal' | 'progress' | 'isResumed'> & {
  readonly log: Pick<DeploymentLog, 'progress'>;
};

/**
 * Decides the steps of a deployment. Called when its turn has come, so the decision uses the release that is live then.
 *
 * @throws DeployError `OUTSIDE_CONFIG` if config vars from outside cannot be used. For a push: `MOVED_ON` or
 * `OTHER_HISTORY` if it neither builds upon the live commit nor is forced over it; `OTHER_BRANCH` if the pushed branch
 * no longer deploys. For other kinds: the errors of the method of `Deployments` that queued the deployment, because
 * another release may be live now; `COMMIT_LOST` for a redeploy; for a promotion, `CONFIG_MISSING` and the errors of
 * `takePromoted`.
 */
export async function planDeployment(
  context: Pick<
    DeployContext,
    'store' | 'repositories' | 'builder' | 'runtime' | 'maxReplicas' | 'processTypes' | 'repositorySize'
  >,
  entry: ToPlan,
  signal: AbortSignal,
): Promise<Planned> {
  const { store, builder } = context;
  const { tool, commit } = entry.deployment;
  const { liveVersion, isStopped } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  const base = {
    deployment: entry.deployment,
    configVars: store.configVars(tool),
    outside: await outsideVarsOf(context, tool),
    artifact: null,
    promotedFrom: null,
    useCache: true,
    rebaseOf: null,
    restartOf: null,
    scaled: null,
    branchRef: null,
    withUpdates: [],
    isResumed: entry.isResumed,
  };
  const { request } = entry;
  switch (request.kind) {
    case 'push': {
      const { push } = request;
      await assertDeploys(context.repositories, push);
      if (live?.commit === commit && !isStopped && builder.whyUnusable(live.artifact) === null)
        return { kind: 'live-already', version: live.version, push };
      await checkBase(context.repositories, push, live);
      const built = push.useCache ? usable(builder, store.newestBuildOf(tool, commit)?.artifact) : null;
      if (built !== null)
        entry.log.progress.step(
          `Using the earlier build of ${short(commit)} (git push -o no-cache builds it again)`,
        );
      const { useCache, branchRef, withUpdates } = push;
      const description = `Deploy ${short(commit)}`;
      return {
        kind: 'go',
        plan: {
          ...base,
          commit,
          description,
          artifact: built,
          useCache,
          branchRef,
          withUpdates,
        },
      };
    }
    case 'redeploy': {
      const { commit: current, artifact: whatRuns } = liveRelease(store, tool);
      if (await isLost(context.repositories, { tool, commit: current })) throw commitLost(tool, current);
      const verb = request.isRebase === true ? 'Rebase' : 'Redeploy';
      entry.progress.step(`${verb} of ${short(current)} by ${entry.principal.uid}`);
      return {
        kind: 'go',
        plan: {
          ...base,
          commit: current,
          description: `${verb} ${short(current)}`,
          useCache: request.useCache,
          rebaseOf: request.isRebase === true ? whatRuns : null,
        },
      };
    }
    case 'rollback': {
      const current = liveRelease(store, tool);
      const target = await rollbackTarget(context, current, request.version, signal);
      entry.log.progress.step(
        `Rollback to v${target.version} (${short(target.commit)}) by ${entry.principal.uid}`,
      );
      const { artifact, configVars } = target;
      const changes = changesInWords(changedNames(base.configVars, configVars));
      // Print the command that undoes the rollback only if the live release has all stored config vars. A change by
      // `config set --no-restart` may be in no release, so no rollback could restore it.
      const isInRelease = changesInWords(changedNames(current.configVars, base.configVars)) === null;
      const undo = isInRelease ? `; to undo this: rollback ${tool} v${current.version}` : '';
      if (changes !== null) entry.log.progress.line(`config vars: ${changes}${undo}`);
      return {
        kind: 'go',
        plan: {
          ...base,
          commit: target.commit,
          description: `Rollback to v${target.version}`,
          artifact,
          configVars,
        },
      };
    }
    case 'promote': {
      const { source, version } = request;
      const promotedFrom = await takePromoted(
        context,
        { tool, id: entry.deployment.id, live },
        request,
        signal,
      );
      assertConfigured(tool, promotedFrom.artifact.required ?? [], {
        ...base.configVars,
        ...base.outside.vars,
      });
      const description = `Promote v${version} of ${source}`;
      entry.log.progress.step(`${description} (${short(promotedFrom.commit)}) by ${entry.principal.uid}`);
      return { kind: 'go', plan: { ...base, commit: promotedFrom.commit, description, promotedFrom } };
    }
    case 'config': {
      const { commit: current, artifact: whatRuns } = liveRelease(store, tool);
      const artifact = usable(builder, whatRuns);
      const description = changeInShort(request.changes);
      entry.log.progress.step(`${description} by ${entry.principal.uid}`);
      const configVars = changeConfigVars(store.configVars(tool), request.changes);
      return { kind: 'go', plan: { ...base, commit: current, description, artifact, configVars } };
    }
    case 'restart': {
      const release = liveRelease(store, tool);
      const { type } = request;
      if (type !== null) {
        assertRuns(context, release, type);
        return {
          kind: 'scale',
          plan: { deployment: entry.deployment, release, changes: {}, renewed: type },
        };
      }
      entry.log.progress.step(`Restart of v${release.version} by ${entry.principal.uid}`);
      const { commit: current, artifact } = release;
      return {
        kind: 'go',
        plan: { ...base, commit: current, description: 'Restart', artifact, restartOf: release },
      };
    }
    case 'scale': {
      const release = liveRelease(store, tool);
      const { changes, sizes } = request;
      assertScalable(context, release, changes);
      const all = Object.entries({ ...release.sizes, ...sizes });
      const resized = Object.fromEntries(all.filter(([, size]) => Object.keys(size).length > 0));
      if (isDeepStrictEqual(resized, release.sizes ?? {}))
        return { kind: 'scale', plan: { deployment: entry.deployment, release, changes } };
      if (isStopped)
        return { kind: 'scale', plan: { deployment: entry.deployment, release, changes, sizes: resized } };
      const { commit: current, artifact } = release;
      const asked = askedAfter(context, release, changes);
      const description = `Scale ${replicasLine(changes, sizes)}`;
      entry.log.progress.step(`${description} by ${entry.principal.uid}`);
      const restartOf = { ...release, sizes: resized };
      const scaled = { asked, sizes: resized };
      return { kind: 'go', plan: { ...base, commit: current, description, artifact, restartOf, scaled } };
    }
    default:
      throw request satisfies never;
  }
}

/** Returns the artifact. Null if the commit must be built again, because it has no artifact or one that cannot run. */
function usable(builder: Builder, artifact: Artifact | null | undefined): Artifact | null {
  return artifact && builder.whyUnusable(artifact) === null ? artifact : null;
}

/**
 * Refuses a push of master if main became the deploy branch while the push waited. If this push went live, master would
 * become the deploy branch again, and the branch main would be deleted.
 */
async function assertDeploys(repositories: Repositories, { tool, branchRef }: ParkedPush): Promise<void> {
  const main = `refs/heads/${repositories.deployBranch}`;
  if (branchRef === main) return;
  const { ref, commit } = await readDeployBranch(repositories, tool);
  if (ref !== main || commit === null) return;
  const [name, mainName] = [branchName(branchRef), branchName(main)];
  throw new DeployError(
    'OTHER_BRANCH',
    `${name} is not deployed: somebody pushed ${mainName} while you waited, so now only pushes to ${mainName} are deployed`,
    `To deploy ${name}: git push toolforge ${name}:${mainName}`,
  );
}

/**
 * Refuses a push that would undo a release which its author may not know. A push passes if the commit that it replaces
 * on its branch is the live commit, or if it builds upon the live commit. Any push passes if no release is live, or if
 * the repository has lost the live commit.
 *
 * @throws DeployError `OTHER_HISTORY` or `MOVED_ON` for such a push.
 */
async function checkBase(repositories: Repositories, push: ParkedPush, live: Release | null): Promise<void> {
  const { tool, commit, oldCommit, branchRef } = push;
  if (live === null || live.commit === oldCommit) return;
  if (await isAncestor(repositories, tool, live.commit, commit)) return;
  // If the repository has lost the live commit, no push can build upon it, so any push is accepted.
  if (await isLost(repositories, live)) return;
  const { previewBranch } = push;
  const { ref } = await readDeployBranch(repositories, tool);
  const [name, liveName] = [branchName(branchRef), branchName(ref)];
  const versionAndCommit = `v${live.version} (${short(live.commit)})`;
  // Do not compare the names of the branches for a push to a preview: in the dry run of such a push, `ref` is not the
  // deploy branch of the preview, but of the tool that the preview belongs to.
  if (name !== liveName && previewBranch === undefined) {
    // The push creates its branch. With and without force, git sends the same for a new branch. The server cannot know
    // whether the person wants to replace the live commit, so it refuses the push.
    throw new DeployError(
      'OTHER_HISTORY',
      `the branch ${name} would replace ${liveName}, which is live at ${versionAndCommit}, but ${name} does not contain the live commit`,
      `To deploy ${name} anyway, first overwrite ${liveName}, then push ${name}: git push -f toolforge ${name}:${liveName} && git push toolforge ${name}`,
    );
  }
  const [fetched, pushed] =
    previewBranch === undefined ? [name, name] : [previewBranch, `HEAD:${previewBranch}`];
  throw new DeployError(
    'MOVED_ON',
    `${versionAndCommit} went live while you waited`,
    push.isArchive === true
      ? `Get the files that are live now, make your change there, and deploy again: \`download ${tool}\``
      : `Fetch this release and push again: git fetch toolforge && git rebase toolforge/${fetched} && git push toolforge ${pushed}`,
  );
}
