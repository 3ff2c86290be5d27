import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { progressTo } from '../core/progress.ts';
import type { Release } from '../core/types.ts';
import { readRefs } from '../git/ref-files.ts';
import { pointHead, readDeployBranch, updateRefs } from '../git/refs.ts';
import type { ToolRecord } from '../store/store.ts';
import type { DeployContext } from './deploy-context.ts';
import type { DeploymentLogs } from './deployment-log.ts';
import { dropOldParked } from './parked.ts';
import { findTakenUp, type TakenUp } from './taken-up.ts';

/**
 * At start, before any door is open: makes everything that a killed server left agree with what is live. No verdict
 * counts as failure; where a rollout had been recorded and only the branch had not moved, the branch follows.
 *
 * @returns the deployments whose build went on without a server: they are as they were, for the line to take up.
 */
export async function reconcile(context: DeployContext, logs: DeploymentLogs): Promise<TakenUp[]> {
  const takenUp = await findTakenUp(context);
  const goOn = new Set(takenUp.map(({ deployment }) => deployment.id));
  await interruptUnfinished(context, logs, goOn);
  for (const tool of context.store.tools()) {
    try {
      await reconcileTool(context, tool, goOn);
    } catch (err) {
      // One broken repository keeps no other tool down.
      context.log.error({ err, tool: tool.name }, 'tool could not be reconciled');
    }
  }
  return takenUp;
}

async function interruptUnfinished(
  { store, log }: DeployContext,
  logs: DeploymentLogs,
  goOn: ReadonlySet<string>,
): Promise<void> {
  for (const { id, tool, version } of store.unfinishedDeployments()) {
    if (goOn.has(id)) continue;
    const reason = 'interrupted: the server was restarted; push again';
    store.updateDeployment(id, { state: 'interrupted', reason, endedAt: Date.now() });
    if (store.build(id)?.state === 'BUILD_RUNNING') store.endBuild(id, 'BUILD_UNKNOWN', null, Date.now());
    if (version !== null && store.release(tool, version)?.state === 'created')
      store.failRelease(tool, version);
    let text = '';
    progressTo((line) => {
      text += line;
    }).warn('Interrupted: the server was restarted. Push again.');
    const path = logs.path(tool, id);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      .then(() => appendFile(path, text, { mode: 0o600 }))
      .catch((err: unknown) => log.error({ err, tool, deployment: id }, 'deployment log not ended'));
    log.warn({ tool, deployment: id }, 'deployment interrupted by a restart of the server');
  }
}

async function reconcileTool(
  context: DeployContext,
  tool: ToolRecord,
  goOn: ReadonlySet<string>,
): Promise<void> {
  const { store, repositories, builder } = context;
  const { name } = tool;
  const kept = store.builds(name, 10_000).filter(({ artifact }) => artifact !== null);
  await builder.cleanUp(name, new Set(kept.map(({ id }) => id)), goOn);
  if (!repositories.exists(name)) return;
  await followLive(context, tool);
  await dropOldParked(context, name);
}

/** The branch equals the live release's commit, whatever happened in between. */
async function followLive(context: DeployContext, tool: ToolRecord): Promise<void> {
  const { store, repositories, log } = context;
  const { name, liveVersion } = tool;
  const live = liveVersion === null ? null : store.release(name, liveVersion);
  const branch = await readDeployBranch(repositories, name);
  if (live === null) {
    if (branch.commit === null) return;
    await updateRefs(repositories, name, [`delete ${branch.ref}`]);
  } else {
    const release = `refs/releases/v${live.version}`;
    // A release of the commit that was live before, as of config vars, moves no branch and has a ref of its own.
    const recorded = (await readRefs(repositories, name, [release])).get(release);
    if (live.commit === branch.commit && live.commit === recorded) return;
    await moveRefs(context, live, [
      `update ${branch.ref} ${live.commit}`,
      `update ${release} ${live.commit}`,
    ]);
    await pointHead(repositories, name, branch.ref);
  }
  log.warn({ tool: name, from: branch.commit, to: live?.commit ?? null }, 'branch follows what is live');
}

/** With the other refs of an atomic push, which were to move in the same transaction; where they cannot, without. */
async function moveRefs(
  { store, repositories, log }: DeployContext,
  { tool, deploymentId }: Release,
  lines: readonly string[],
): Promise<void> {
  const request = store.requestOf(deploymentId);
  const others = request?.kind === 'push' ? request.withUpdates : [];
  try {
    await updateRefs(repositories, tool, [...lines, ...others]);
  } catch (err) {
    if (others.length === 0) throw err;
    log.warn({ err, tool, deployment: deploymentId }, 'other refs of an atomic push do not follow');
    await updateRefs(repositories, tool, lines);
  }
}
