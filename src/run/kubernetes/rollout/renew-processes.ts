import { PatchStrategy } from '@kubernetes/client-node';
import { logFailure } from '../../../core/log/alarms.ts';
import { FIELD_MANAGER } from '../../../kubernetes/apply.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import type { RollOut } from '../../runtime.ts';
import type { Rollout } from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import { replicaCount } from '../manifests/rollout-manifests.ts';
import type { ToolPod } from '../pods/tool-pods.ts';
import type { ObjectParts } from '../rollout-objects.ts';
import { orUndo } from './after-undo.ts';
import type { LiveRollouts } from './live-rollouts.ts';
import { grow, shrink } from './scale-rollout.ts';

const MARK_MS = 30_000;
/**
 * The deletion cost of an old pod. When the cluster removes pods of a Deployment, pods with the lowest cost end first.
 * All other pods have the cost 0.
 */
const OLD_COST = '-100';

/**
 * Replaces the pods of one process type of a live rollout: adds as many new pods, waits until they are healthy, and
 * then removes the old pods. Each old pod gets its grace time to finish open requests.
 *
 * @throws DeployError that says why a new process is not healthy; the error of `beforeSwitch`; the signal's reason when
 * the signal fires. The old processes then go on.
 * @see https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost
 */
export async function renewProcesses(
  live: LiveRollouts,
  rollout: Rollout,
  { renewed, toolNumber, progress, signal, beforeSwitch }: RollOut & { readonly renewed: string },
): Promise<void> {
  const { parts, log } = live;
  const whole = AbortSignal.any([signal, parts.closing]);
  const type = labelValue(renewed);
  const old = parts.pods
    .ofRollout(rollout)
    .filter((pod) => pod.type === type && !pod.isTerminating && !pod.isOver);
  const doubled = { ...rollout.replicas, [renewed]: 2 * replicaCount(rollout, renewed) };
  const start = { rollout: { ...rollout, replicas: doubled }, toolNumber, progress, signal: whole };
  const undo = await grow(parts, start);
  await orUndo(undo, async () => {
    for (const pod of old) await markOld(parts, pod, whole);
    whole.throwIfAborted();
    await beforeSwitch();
  });
  // After `beforeSwitch`, the deployment counts as done, so nothing from here on may throw.
  await shrink(parts, rollout, parts.closing).catch((error: unknown) => {
    logFailure(log, {
      error,
      message: 'cannot end surplus processes',
      facts: { tool: rollout.release.tool },
    });
    progress.warn(
      'The cluster could not end the old processes yet. The next command `scale`, or the next start of this server, ends them.',
    );
  });
}

async function markOld({ cluster }: ObjectParts, pod: ToolPod, signal: AbortSignal): Promise<void> {
  const patch = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: pod.podName,
      namespace: pod.namespace,
      annotations: { 'controller.kubernetes.io/pod-deletion-cost': OLD_COST },
    },
  };
  await retrying(
    () =>
      cluster.objects.patch(patch, undefined, undefined, FIELD_MANAGER, undefined, PatchStrategy.MergePatch),
    { signal, timeoutMs: MARK_MS },
  );
}
