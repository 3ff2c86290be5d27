import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { FateOf } from '../../builder/builder.ts';
import { mapWithLimit } from '../../core/concurrency/concurrency-limit.ts';
import type { ToolName } from '../../core/names.ts';
import { progressTo } from '../../core/progress.ts';
import type { Build } from '../../core/types.ts';
import { REPOSITORIES_AT_ONCE } from '../../git/repositories.ts';
import type { ToolRecord } from '../../store/store.ts';
import type { DeployContext } from '../deploy-context.ts';
import type { DeploymentLogs } from '../deployment-log.ts';
import { dropLeftTags, dropOldParked } from '../old-refs.ts';
import { failReleases } from '../release/fail-releases.ts';
import { followLive } from './follow-live.ts';
import { restoreReleaseRefs } from './read-back-releases.ts';
import { findResumedBuilds, type ResumedBuild } from './resumed-builds.ts';

/**
 * Makes everything that a killed server left agree with the live releases. Runs at start, after `mendRepositories` and
 * before the server listens. Records unfinished deployments as interrupted, except those that it returns. If `goLive`
 * was recorded for a release, moves the branch to its commit. Moves finished artifacts that the store does not know to
 * the folder `set-aside`.
 *
 * @param unfinishedImports - The imported tools whose tags could not be made yet. This function keeps their temporary
 * refs, because a later start makes the tags from these refs.
 * @returns the deployments whose builds continued without a server, or had just ended. The queue resumes them.
 */
export async function reconcile(
  context: DeployContext,
  logs: DeploymentLogs,
  unfinishedImports: ReadonlySet<ToolName> = new Set(),
): Promise<ResumedBuild[]> {
  const resumed = await findResumedBuilds(context);
  const resumedIds = new Set(resumed.map(({ deployment }) => deployment.id));
  await interruptUnfinished(context, logs, resumedIds);
  await mapWithLimit(context.store.tools(), REPOSITORIES_AT_ONCE, async (tool) => {
    try {
      await reconcileTool(context, tool, resumedIds, unfinishedImports.has(tool.name));
    } catch (err) {
      // Only log the error, because one broken repository must not stop the other tools.
      context.log.error({ err, tool: tool.name }, 'cannot reconcile a tool');
    }
  });
  return resumed;
}

async function interruptUnfinished(
  { store, log }: DeployContext,
  logs: DeploymentLogs,
  resumedIds: ReadonlySet<string>,
): Promise<void> {
  for (const { id, tool } of store.unfinishedDeployments()) {
    if (resumedIds.has(id)) continue;
    const reason = 'interrupted: the server was restarted; push again';
    store.updateDeployment(id, { state: 'interrupted', reason, endedAt: Date.now() });
    if (store.build(id)?.state === 'BUILD_RUNNING') store.endBuild(id, 'BUILD_UNKNOWN', null, Date.now());
    let text = '';
    progressTo((line) => {
      text += line;
    }).warn('Interrupted: the server was restarted. Push again.');
    const path = logs.path(tool, id);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      .then(() => appendFile(path, text, { mode: 0o600 }))
      .catch((err: unknown) => log.error({ err, tool, deployment: id }, 'cannot end a deployment log'));
    log.warn({ tool, deployment: id }, 'deployment interrupted by a restart of the server');
  }
}

async function reconcileTool(
  context: DeployContext,
  tool: ToolRecord,
  resumedIds: ReadonlySet<string>,
  keepsTags: boolean,
): Promise<void> {
  const { store, repositories, builder } = context;
  const { name } = tool;
  failReleases(store, name, (deploymentId) => !resumedIds.has(deploymentId));
  // Repair the refs before `builder.cleanUp`, because `builder.cleanUp` fails if the cluster does not answer.
  if (repositories.exists(name)) {
    await restoreReleaseRefs(context, name);
    await followLive(context, name);
    await dropOldParked(context, name);
    if (!keepsTags) await dropLeftTags(context, name);
  }
  await builder.cleanUp(name, (id, isFinished) => fateOf(store.build(id), isFinished), resumedIds);
}

function fateOf(build: Build | null, isFinished: boolean): ReturnType<FateOf> {
  // An unfinished artifact whose build the store does not know is from a killed dry run. Remove it, because it has
  // unencrypted config vars.
  if (build === null) return isFinished ? 'set-aside' : 'remove';
  if (build.artifact !== null) return 'keep';
  // After a crash, or if the store was restored from a backup, the store may lack the end of a build. So a finished
  // artifact of such a build is set aside.
  const isOpen = ['BUILD_PENDING', 'BUILD_RUNNING', 'BUILD_UNKNOWN'].includes(build.state);
  return isFinished && isOpen ? 'set-aside' : 'remove';
}
