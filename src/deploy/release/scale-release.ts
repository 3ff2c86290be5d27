import type { Progress } from '../../core/progress.ts';
import { replicasLine, replicasOf } from '../../core/replicas.ts';
import type { Deployment, Release, Replicas, Sizes } from '../../core/types.ts';
import { withOutside } from '../../core/variables/outside-vars.ts';
import type { DeployContext } from '../deploy-context.ts';
import { outsideVarsOf } from './live-release.ts';
import { askedAfter, mostReplicas, plannedReplicas, replicaChanges } from './planned-replicas.ts';

/**
 * A change of how many processes the live release runs, or a restart of one process type. The plan is made when the
 * deployment's turn comes, for the release that is live then.
 */
export interface ScalePlan {
  readonly deployment: Deployment;
  /** The live release. */
  readonly release: Release;
  /** The new number of processes for each changed process type. The numbers of other types stay the same. */
  readonly changes: Replicas;
  /** The new memory and CPU sizes of process types. Given only if the tool is stopped and the sizes change. */
  readonly sizes?: Sizes;
  /** The process type whose running processes are replaced by new processes. Absent if no process is replaced. */
  readonly renewed?: string;
}

/**
 * Changes how many processes of the live release run. The numbers are recorded when all new processes are healthy, and
 * before old processes end. Later releases, restarts and starts of the server use these numbers. If the tool is
 * stopped, the numbers are only recorded.
 *
 * @returns the live version, which does not change.
 * @throws DeployError if new processes cannot run: the numbers then stay as before; AbortError when the signal fires.
 */
export async function scale(
  context: DeployContext,
  { deployment, release, changes, sizes, renewed }: ScalePlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<number> {
  const { store, runtime } = context;
  const { tool, id, by } = deployment;
  const { version } = release;
  const { number: toolNumber, isStopped } = store.tool(tool);
  const asked = askedAfter(context, release, changes);
  const replicas = replicasOf(release, asked, mostReplicas(context, tool));
  store.updateDeployment(id, { state: 'rolling-out', version });
  progress.step(
    renewed === undefined
      ? `Scaling v${version} by ${by}: ${replicaChanges(plannedReplicas(context, release), replicas)}`
      : `Restart of the process type ${renewed} of v${version} by ${by}`,
  );
  const beforeSwitch = async (): Promise<void> => {
    signal.throwIfAborted();
    store.setReplicas(tool, asked, id, Date.now(), sizes);
  };
  if (isStopped) await beforeSwitch();
  else {
    const renewing = renewed === undefined ? {} : { renewed };
    const outside = await outsideVarsOf(context, tool);
    const running = withOutside(release, outside);
    await runtime.scale({
      release: running,
      toolNumber,
      progress,
      signal,
      beforeSwitch,
      replicas,
      ...renewing,
    });
  }
  progress.result(
    isStopped
      ? `${tool} is stopped at v${version}; a restart runs ${replicasLine(replicas)}`
      : `v${version} runs ${replicasLine(replicas)}`,
  );
  return version;
}
