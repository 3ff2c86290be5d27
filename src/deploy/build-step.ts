import { BuildResumesLater } from '../builder/builder.ts';
import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Progress } from '../core/progress.ts';
import type { Artifact, BuildState } from '../core/types.ts';
import { checkOut } from '../git/commits.ts';
import type { DeployContext, DeployPlan } from './deploy-context.ts';

/**
 * Builds the commit of a deployment and records the build. If an earlier server process started the build, follows that
 * build instead. If the build continues without this server, its record keeps the state `BUILD_RUNNING`.
 *
 * @throws DeployError `BUILD_LIMIT` if no build of the tool may start now; BuildResumesLater if the build continues
 * without this server; all other errors of `Runtime.assertReady` and of the builder.
 */
export async function buildStep(
  context: DeployContext,
  plan: DeployPlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<Artifact> {
  const { store, builder, runtime, repositories } = context;
  const { deployment, commit, isResumed } = plan;
  const { tool, id } = deployment;
  if (!isResumed) {
    await runtime.assertReady(tool, signal);
    recordStart(context, plan);
  }
  const request = {
    id,
    tool,
    toolNumber: store.tool(tool).number,
    commit,
    configVars: { ...plan.configVars, ...plan.outside.vars },
    useCache: plan.useCache,
    ...(plan.rebaseOf === null ? {} : { rebaseOf: plan.rebaseOf }),
    checkOut: (folder: string) => checkOut(repositories, tool, commit, folder, signal),
  };
  try {
    const artifact = await (isResumed
      ? builder.resume(request, progress, signal)
      : builder.build(request, progress, signal));
    store.endBuild(id, 'BUILD_SUCCESS', artifact, Date.now());
    return artifact;
  } catch (error) {
    if (error instanceof BuildResumesLater) throw error;
    store.endBuild(id, buildState(error, signal), null, Date.now());
    throw error;
  }
}

/**
 * Stores that the build of this deployment has started. @throws DeployError `BUILD_LIMIT` if no build of the tool may
 * start now.
 */
export function recordStart(context: DeployContext, { deployment: { tool, id }, commit }: DeployPlan): void {
  const { store } = context;
  const startedAt = Date.now();
  assertBuildsLeft(context, tool, startedAt);
  store.updateDeployment(id, { state: 'building' });
  store.addBuild({
    id,
    tool,
    commit,
    deploymentId: id,
    state: 'BUILD_RUNNING',
    artifact: null,
    startedAt,
    endedAt: null,
  });
}

const DAY_MS = 24 * 3600_000;

/**
 * Checks that one more build of the tool may start. The builds of a tool and of its previews in the last 24 hours count
 * together. The limit is the tool's own, or else `buildsADay`.
 *
 * @throws DeployError `BUILD_LIMIT` if no more builds may start now. The error says when the next build may start.
 */
export function assertBuildsLeft(
  context: Pick<DeployContext, 'store' | 'buildsADay'>,
  tool: ToolName,
  now: number,
): void {
  const buildsADay = context.store.ownLimits(tool).builds ?? context.buildsADay;
  const starts = buildsInADay(context, tool, now);
  const first = starts[starts.length - buildsADay];
  if (first === undefined) return;
  const minutes = Math.ceil((first + DAY_MS - now) / 60_000);
  const wait = minutes < 120 ? `${minutes} min` : `${Math.ceil(minutes / 60)} h`;
  throw new DeployError(
    'BUILD_LIMIT',
    `the tool ${tool} has had ${starts.length} builds in 24 hours, and at most ${buildsADay} are allowed (builds_a_day)`,
    `Push again in ${wait}. You can deploy an earlier build now: use rollback, or push a commit that was built before.`,
  );
}

/** Returns when the builds of a tool and of its previews started in the last 24 hours, the oldest first. */
export function buildsInADay({ store }: Pick<DeployContext, 'store'>, tool: ToolName, now: number): number[] {
  // Skip builds that seem to start in the future, because the server's clock was wrong when they started.
  return store.buildStarts(tool, now - DAY_MS).filter((at) => at <= now);
}

export function buildState(error: unknown, signal: AbortSignal): BuildState {
  if (signal.aborted) return 'BUILD_CANCELLED';
  if (!(error instanceof DeployError)) return 'BUILD_UNKNOWN';
  return error.code === 'BUILD_TIMED_OUT' ? 'BUILD_TIMEOUT' : 'BUILD_FAILURE';
}
