import { PatchStrategy, type V1Deployment } from '@kubernetes/client-node';
import { freeNames, scalable } from '../../../core/replicas.ts';
import type { Process } from '../../../core/types.ts';
import { FIELD_MANAGER } from '../../../kubernetes/apply.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import { LABELS, objectName, type Rollout } from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import { replicaCount } from '../manifests/rollout-manifests.ts';
import { foreignChange } from '../pods/pod-status.ts';
import { deploymentsOf, makeRollout, type ObjectParts, removeRollout } from '../rollout-objects.ts';
import { afterUndo } from './after-undo.ts';
import { markLive } from './service-traffic.ts';
import { type RolloutStart, startInstances, type WantedInstance } from './start-rollout.ts';

/** How many pods a process type has (`from`), and how many it must have (`to`). */
interface Change {
  readonly process: Process;
  readonly from: number;
  readonly to: number;
  /** True if the rollout has a Deployment for this process type. A named command has none until somebody scales it. */
  readonly isDeployed: boolean;
}

const UNDO_MS = 30_000;

/**
 * Adds pods to a live rollout, and waits until they are healthy. A web process gets requests as soon as its readiness
 * probe succeeds. If a pod does not become healthy, restores the old number of pods.
 *
 * @returns a function that removes the new pods.
 * @throws DeployError that says why a pod is not healthy; the signal's reason when the signal fires.
 */
export async function grow(parts: ObjectParts, start: RolloutStart): Promise<() => Promise<void>> {
  const { rollout, signal } = start;
  const changes = await changesOf(parts, rollout, signal);
  const growing = changes.filter(({ from, to }) => to > from);
  const undo = async (): Promise<void> => {
    // `undo` has its own signal, because it also runs if the deployment's signal has fired.
    const own = new AbortController().signal;
    const { namespace, id } = rollout;
    for (const { process, from, isDeployed } of growing) {
      if (isDeployed) await setReplicas(parts, rollout, { process, to: from }, own);
      else
        await removeRollout(parts, {
          namespace,
          rolloutId: id,
          how: 'now',
          types: [labelValue(process.type)],
        });
    }
  };
  if (growing.length === 0) return undo;
  try {
    await startInstances(parts, start, {
      instances: growing.flatMap((change) => comingOf(parts, rollout, change)),
      make: async (whole) => {
        for (const change of growing.filter(({ isDeployed }) => isDeployed))
          await setReplicas(parts, rollout, change, whole);
        const missing = growing.filter(({ isDeployed }) => !isDeployed).map(({ process }) => process);
        if (missing.length > 0) await makeMissing(parts, start, missing, whole);
      },
    });
    return undo;
  } catch (error) {
    return await afterUndo(error, undo);
  }
}

/** Removes surplus pods of a live rollout. Each pod gets its grace time to finish open requests. */
export async function shrink(parts: ObjectParts, rollout: Rollout, signal: AbortSignal): Promise<void> {
  const changes = await changesOf(parts, rollout, signal);
  for (const change of changes) {
    if (change.to < change.from) await setReplicas(parts, rollout, change, signal);
  }
}

/**
 * Sets the numbers of pods to the recorded numbers after a start of the server. Leaves a Deployment as it is if
 * somebody else has changed it.
 */
export async function restoreReplicas(
  parts: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
): Promise<void> {
  const changes = await changesOf(parts, rollout, signal, (deployment) => foreignChange(deployment) === null);
  for (const change of changes) {
    if (change.isDeployed && change.to !== change.from) await setReplicas(parts, rollout, change, signal);
  }
}

async function changesOf(
  parts: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
  isMeant: (deployment: V1Deployment) => boolean = () => true,
): Promise<Change[]> {
  const { release, namespace, id } = rollout;
  const all = await deploymentsOf(parts, release.tool, namespace, signal);
  return scalable(release).flatMap((process): Change[] => {
    const deployment = all.find(
      ({ metadata }) =>
        metadata?.labels?.[LABELS.rollout] === id &&
        metadata.labels[LABELS.process] === labelValue(process.type),
    );
    const to = replicaCount(rollout, process.type);
    if (deployment === undefined)
      return process.replicas === 0 ? [{ process, from: 0, to, isDeployed: false }] : [];
    if (!isMeant(deployment)) return [];
    return [{ process, from: deployment.spec?.replicas ?? 1, to, isDeployed: true }];
  });
}

/** Creates the missing Deployments of named commands. A named command has no Deployment until somebody scales it. */
async function makeMissing(
  parts: ObjectParts,
  { rollout, toolNumber }: RolloutStart,
  missing: readonly Process[],
  signal: AbortSignal,
): Promise<void> {
  const { release, namespace, id } = rollout;
  const all = await deploymentsOf(parts, release.tool, namespace, signal);
  const there = all.filter(({ metadata }) => metadata?.labels?.[LABELS.rollout] === id);
  await makeRollout(parts, { rollout, toolNumber, config: parts.config }, signal, there);
  await markLive(parts, rollout, signal, missing);
}

/**
 * Returns the processes of one type that need a new pod, so that `to` pods run. The names of these processes get the
 * lowest free numbers.
 */
function comingOf({ pods }: ObjectParts, rollout: Rollout, { process, to }: Change): WantedInstance[] {
  const type = labelValue(process.type);
  const there = pods.ofRollout(rollout).filter((pod) => pod.type === type && !pod.isTerminating);
  // A pod that has ended for good, such as an evicted pod, does not count as running, but its name is not free.
  const active = there.filter(({ pod }) => !/^(Failed|Succeeded)$/.test(pod.status?.phase ?? ''));
  const taken = new Set(there.map(({ name }) => name));
  return freeNames(type, taken, Math.max(0, to - active.length)).map((name) => ({ process, name }));
}

async function setReplicas(
  { cluster }: ObjectParts,
  rollout: Rollout,
  { process, to }: Pick<Change, 'process' | 'to'>,
  signal: AbortSignal,
): Promise<void> {
  const patch = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: objectName(process.type, rollout), namespace: rollout.namespace },
    spec: { replicas: to },
  };
  await retrying(
    () =>
      cluster.objects.patch(patch, undefined, undefined, FIELD_MANAGER, undefined, PatchStrategy.MergePatch),
    { signal, timeoutMs: UNDO_MS },
  );
}
