import type { Progress } from '../core/progress.ts';
import { replicasLine, replicasOf } from '../core/replicas.ts';
import type { Deployment, Release, Replicas } from '../core/types.ts';
import type { DeployContext } from './deploy-context.ts';
import { plannedReplicas, replicaChanges } from './replicas.ts';

/** A change of how many processes run, whose turn has come. */
export interface ScalePlan {
  readonly deployment: Deployment;
  /** The live one. */
  readonly release: Release;
  /** By process type; of the others as many run as before. */
  readonly changes: Replicas;
}

/**
 * Runs the live release in other numbers. They are recorded once all that is missing is healthy, and before anything
 * is ended; what a later release, a restart or the next start of the server runs goes by them. Of a tool that is
 * stopped they are recorded alone.
 *
 * @returns the version that is live, as before.
 * @throws DeployError where they cannot be had: then as many run, and are recorded, as before; AbortError when the
 * signal fires.
 */
export async function scale(
  context: DeployContext,
  { deployment, release, changes }: ScalePlan,
  progress: Progress,
  signal: AbortSignal,
): Promise<number> {
  const { store, runtime, maxReplicas } = context;
  const { tool, id, by } = deployment;
  const { version } = release;
  const { number: toolNumber, isStopped } = store.tool(tool);
  const asked = { ...store.replicas(tool), ...changes };
  const replicas = replicasOf(release, asked, maxReplicas);
  store.updateDeployment(id, { state: 'rolling-out', version });
  progress.step(
    `Scaling v${version} by ${by}: ${replicaChanges(plannedReplicas(context, release), replicas)}`,
  );
  const beforeSwitch = async (): Promise<void> => {
    signal.throwIfAborted();
    store.setReplicas(tool, asked, id, Date.now());
  };
  if (isStopped) await beforeSwitch();
  else await runtime.scale({ release, toolNumber, progress, signal, beforeSwitch, replicas });
  progress.result(
    isStopped
      ? `${tool} is stopped at v${version}; a restart runs ${replicasLine(replicas)}`
      : `v${version} runs ${replicasLine(replicas)}`,
  );
  return version;
}
