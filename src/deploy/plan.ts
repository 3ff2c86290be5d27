import { DeployError } from '../core/errors.ts';
import { short } from '../core/names.ts';
import type { Release } from '../core/types.ts';
import { isAncestor } from '../git/refs.ts';
import type { Repositories } from '../git/repositories.ts';
import type { Store } from '../store/store.ts';
import { changeConfigVars } from './config-vars.ts';
import type { DeployPlan } from './deploy.ts';
import type { ParkedPush } from './deployments.ts';
import type { Entry } from './entry.ts';
import { rollbackTarget } from './rollback-target.ts';
import { liveRelease } from './what-is-live.ts';

export type Planned =
  | { readonly kind: 'go'; readonly plan: DeployPlan }
  | { readonly kind: 'live-already'; readonly version: number; readonly push: ParkedPush };

/**
 * What a deployment does, decided when its turn has come and with what is live now.
 *
 * @throws DeployError `MOVED_ON` where another release went live that this push does not build upon.
 */
export async function planDeployment(
  context: { readonly store: Store; readonly repositories: Repositories },
  entry: Entry,
): Promise<Planned> {
  const { store } = context;
  const { tool, commit } = entry.deployment;
  const { liveVersion, isStopped } = store.tool(tool);
  const live = liveVersion === null ? null : store.release(tool, liveVersion);
  const base = {
    deployment: entry.deployment,
    configVars: store.configVars(tool),
    artifact: null,
    useCache: true,
    restartOf: null,
    branchRef: null,
    withUpdates: [],
  };
  const { request } = entry;
  switch (request.kind) {
    case 'push': {
      const { push } = request;
      if (live !== null && live.commit === commit && !isStopped)
        return { kind: 'live-already', version: live.version, push };
      await checkBase(context.repositories, entry, live);
      const built = push.useCache ? store.newestBuildOf(tool, commit) : null;
      if (built !== null)
        entry.log.progress.step(
          `Using what was built of ${short(commit)} before (git push -o no-cache builds anew)`,
        );
      const { useCache, branchRef, withUpdates } = push;
      const description = `Deploy ${short(commit)}`;
      return {
        kind: 'go',
        plan: {
          ...base,
          commit,
          description,
          artifact: built?.artifact ?? null,
          useCache,
          branchRef,
          withUpdates,
        },
      };
    }
    case 'redeploy': {
      const { commit: current } = liveRelease(store, tool);
      entry.log.progress.step(`Redeploy of ${short(current)} by ${entry.principal.uid}`);
      return {
        kind: 'go',
        plan: {
          ...base,
          commit: current,
          description: `Redeploy ${short(current)}`,
          useCache: request.useCache,
        },
      };
    }
    case 'rollback': {
      const target = rollbackTarget(store, liveRelease(store, tool), request.version);
      entry.log.progress.step(
        `Rollback to v${target.version} (${short(target.commit)}) by ${entry.principal.uid}`,
      );
      const { artifact, configVars } = target;
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
    case 'config': {
      const { commit: current, artifact } = liveRelease(store, tool);
      const names = Object.keys(request.changes);
      const isUnset = Object.values(request.changes).every((value) => value === null);
      const description = `${isUnset ? 'Unset' : 'Set'} ${names.join(', ')}`;
      entry.log.progress.step(`${description} by ${entry.principal.uid}`);
      const configVars = changeConfigVars(store.configVars(tool), request.changes);
      return { kind: 'go', plan: { ...base, commit: current, description, artifact, configVars } };
    }
    case 'restart': {
      const release = liveRelease(store, tool);
      entry.log.progress.step(`Restart of v${release.version} by ${entry.principal.uid}`);
      const { commit: current, artifact } = release;
      return {
        kind: 'go',
        plan: { ...base, commit: current, description: 'Restart', artifact, restartOf: release },
      };
    }
    default:
      throw request satisfies never;
  }
}

/** A force needs the current commit as its old one; anything else must build upon what is live. */
async function checkBase(repositories: Repositories, entry: Entry, live: Release | null): Promise<void> {
  const { tool, commit, oldCommit } = entry.deployment;
  if (live === null || live.commit === oldCommit) return;
  if (await isAncestor(repositories, tool, live.commit, commit)) return;
  throw new DeployError(
    'MOVED_ON',
    `v${live.version} (${short(live.commit)}) went live while you waited`,
    'Fetch it and push again: git fetch toolforge && git rebase toolforge/main && git push toolforge main',
  );
}
