import { isDeepStrictEqual } from 'node:util';
import type { KubernetesObject, V1Deployment, V1Pod } from '@kubernetes/client-node';
import { DeployError } from '../../../core/errors.ts';
import type { ToolName } from '../../../core/names.ts';
import { scalable } from '../../../core/replicas.ts';
import { type Applied, applyObject, applyUnlessChanged, findObject } from '../../../kubernetes/apply.ts';
import { assertPodsLeft } from '../../../kubernetes/pod-quota.ts';
import type { ObjectChange, TriedRollout } from '../../runtime.ts';
import { cronJobs } from '../manifests/cron-job-manifests.ts';
import { LABELS, newRolloutId, objectName } from '../manifests/object-names.ts';
import { podTemplate } from '../manifests/pod-manifest.ts';
import {
  hasAddress,
  ingress,
  type ReleaseOptions,
  replicaCount,
  rolloutObjects,
  service,
} from '../manifests/rollout-manifests.ts';
import { deploymentsOf, namespaceObjects, type ObjectParts } from '../rollout-objects.ts';
import { cronJobsOf } from '../schedules/schedules.ts';
import type { LiveRollouts } from './live-rollouts.ts';
import { serviceNow } from './service-traffic.ts';

type Any = Applied<KubernetesObject>;

/**
 * Asks the cluster by server-side dry runs which objects a rollout would create, change and remove, and whether the
 * quota has room for the new processes. Changes nothing. Objects of the old rollout count as removed, although they
 * stay for the drain time. Objects of rollouts that already drain do not count. If the namespace does not exist yet,
 * asks nothing: all objects count as created. For a preview, the quota must also have room for the next rollout of the
 * preview's tool.
 *
 * @returns the changes, and an error `QUOTA_EXCEEDED` in the field `quota` if the quota has no room.
 * @throws DeployError if the cluster would refuse an object, or does not answer; the signal's reason when the signal
 * fires.
 */
export async function tryRollout(
  live: LiveRollouts,
  options: ReleaseOptions,
  signal: AbortSignal,
): Promise<TriedRollout> {
  const objects = await changesOf(live, options, signal);
  const isNew = objects.some(({ kind }) => kind === 'Namespace');
  try {
    const hasRoom = !isNew && (await assertQuotaLeft(live.parts, [options], signal));
    if (!isNew) await assertRoomForTool(live, options.rollout.previewOf, { beside: options, signal });
    return { objects, quota: hasRoom ? 'has-room' : null };
  } catch (error) {
    if (error instanceof DeployError && error.code === 'QUOTA_EXCEEDED') return { objects, quota: error };
    throw error;
  }
}

async function changesOf(
  live: LiveRollouts,
  options: ReleaseOptions,
  signal: AbortSignal,
): Promise<ObjectChange[]> {
  const { parts } = live;
  const { rollout } = options;
  const { tool } = rollout.release;
  const { namespace } = rollout;
  const around = await namespaceObjects(parts, rollout, signal);
  const wanted = [...around.policies, ...wantedOf(parts, options)];
  if (around.namespace !== null)
    return [around.namespace, ...around.limits, ...wanted].map((one) => ({
      ...named(one),
      change: 'created',
    }));
  const tried = async (object: Any, apply: typeof applyUnlessChanged): Promise<ObjectChange[]> => {
    const before = await findObject(parts.cluster, object, { signal });
    const after = await apply(parts.cluster, object, { signal, isDryRun: true });
    if (before === null) return [{ ...named(object), change: 'created' }];
    const isSame = after === null || isDeepStrictEqual(contentOf(before), contentOf(after));
    return isSame ? [] : [{ ...named(object), change: 'changed' }];
  };
  const changes = await Promise.all([
    ...around.limits.map((one) => tried(one, applyUnlessChanged)),
    ...wanted.map((one) => tried(one, applyObject)),
  ]);
  const [all, schedules] = await Promise.all([
    deploymentsOf(parts, tool, namespace, signal),
    cronJobsOf(parts, tool, namespace, signal),
  ]);
  const deployments = all.filter(
    ({ metadata }) => !live.isRetiring(metadata?.labels?.[LABELS.rollout] ?? ''),
  );
  const stays = new Set(wanted.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
  const rollouts = new Set(deployments.map(({ metadata }) => metadata?.labels?.[LABELS.rollout]));
  const old = [...rollouts].map(() => ({ kind: 'Secret', name: 'config' }));
  const gone = [
    ...old,
    ...deployments.flatMap(partsOfDeployment),
    ...schedules
      .map(({ metadata }) => ({ kind: 'CronJob', name: metadata?.name ?? '' }))
      .filter(({ kind, name }) => !stays.has(`${kind} ${name}`)),
    ...(await unneeded(parts, options, signal)),
  ];
  return [...changes.flat(), ...gone.map((one): ObjectChange => ({ ...one, change: 'removed' }))];
}

/**
 * Checks that a preview leaves room in the quota for the next rollout of the preview's tool. Checks nothing if that
 * tool does not run.
 *
 * @param previewOf - The tool of the preview. Undefined if the rollout is not of a preview: nothing is checked.
 * @param beside - The rollout of the preview, if its new processes do not run yet.
 * @throws DeployError `QUOTA_EXCEEDED` if there is no room; `CLUSTER_UNREACHABLE` if the API does not answer; the
 * signal's reason when the signal fires.
 */
export async function assertRoomForTool(
  live: LiveRollouts,
  previewOf: ToolName | undefined,
  { beside, signal }: { readonly beside?: ReleaseOptions; readonly signal: AbortSignal },
): Promise<void> {
  const options = previewOf === undefined ? null : live.optionsOf(previewOf);
  if (options === null) return;
  const next = { ...options, rollout: { ...options.rollout, id: newRolloutId() } };
  const all = beside === undefined ? [next] : [beside, next];
  await assertQuotaLeft(live.parts, all, signal).catch((error: unknown) => {
    if (!(error instanceof DeployError && error.code === 'QUOTA_EXCEEDED')) throw error;
    throw new DeployError(
      'QUOTA_EXCEEDED',
      `the preview would leave no room for the next rollout of ${previewOf}: ${error.message}`,
      `End other previews (\`previews ${previewOf}\`), set less cpu and mem in service.template, or ask the operator for a larger quota.`,
      { cause: error },
    );
  });
}

/**
 * Checks that the quotas of a namespace have room for all processes that these rollouts keep running, beside the pods
 * that run there now. Compares the number of pods with the quotas. For CPU and memory, asks the cluster by a
 * server-side dry run for one pod that is as large as all these processes together.
 *
 * @returns true if there is room; false if this cannot be known before the processes start, or if the rollouts keep no
 * process running.
 * @throws DeployError `QUOTA_EXCEEDED` if there is no room; `CLUSTER_UNREACHABLE` if the API does not answer; the
 * signal's reason when the signal fires.
 */
async function assertQuotaLeft(
  { cluster }: Pick<ObjectParts, 'cluster'>,
  rollouts: readonly ReleaseOptions[],
  signal: AbortSignal,
): Promise<boolean> {
  const running = rollouts.flatMap(runningOf);
  const pod = sumOf(rollouts, running);
  if (pod === null) return false;
  try {
    const pods = running.reduce((sum, { count }) => sum + count, 0);
    const isCounted = await assertPodsLeft(cluster, {
      namespace: pod.metadata.namespace ?? '',
      pods,
      signal,
    });
    await applyObject(cluster, pod, { signal, isDryRun: true });
    return isCounted;
  } catch (error) {
    // Ignore any other refusal: it is about the size of this pod, but this pod only stands for several smaller pods.
    const isOther =
      error instanceof DeployError && !/^(QUOTA_EXCEEDED|CLUSTER_UNREACHABLE)$/.test(error.code);
    if (!isOther) throw error;
    return false;
  }
}

/** The processes that a rollout keeps running: the specification of their pods, and how many of them run. */
function runningOf(options: ReleaseOptions) {
  const { rollout } = options;
  return scalable(rollout.release).flatMap((process) => {
    const { spec } = podTemplate({ ...options, process }, 'Never');
    const [container] = spec?.containers ?? [];
    const count = replicaCount(rollout, process.type);
    return spec === undefined || container === undefined || count === 0 ? [] : [{ spec, container, count }];
  });
}

/** Returns a pod that needs as much as all these processes together. Null if there are no processes. */
function sumOf(
  [options]: readonly ReleaseOptions[],
  running: ReturnType<typeof runningOf>,
): Applied<V1Pod> | null {
  const [first] = running;
  if (options === undefined || first === undefined) return null;
  const { rollout } = options;
  const sum = (part: 'limits' | 'requests') =>
    sumOfQuantities(
      running.map(({ container, count }) => [container.resources?.[part] ?? {}, count] as const),
    );
  const container = { ...first.container, resources: { limits: sum('limits'), requests: sum('requests') } };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: objectName('room', rollout), namespace: rollout.namespace },
    spec: { ...first.spec, containers: [container] },
  };
}

/**
 * Adds up quantities such as `250m` and `64Mi`, each multiplied by the number beside it. All quantities of one
 * resource, such as `memory`, must have the same unit.
 */
function sumOfQuantities(
  all: readonly (readonly [Readonly<Record<string, string>>, number])[],
): Record<string, string> {
  const sums = new Map<string, { amount: number; unit: string }>();
  for (const [quantities, count] of all) {
    for (const [resource, quantity] of Object.entries(quantities)) {
      const amount = Number.parseFloat(quantity) * count;
      const unit = quantity.replace(/^[\d.]+/, '');
      sums.set(resource, { amount: (sums.get(resource)?.amount ?? 0) + amount, unit });
    }
  }
  return Object.fromEntries([...sums].map(([resource, { amount, unit }]) => [resource, `${amount}${unit}`]));
}

function wantedOf(parts: ObjectParts, options: ReleaseOptions): Any[] {
  const { config } = parts;
  const { rollout } = options;
  const { release, namespace, id } = rollout;
  const { tool } = release;
  const { config: secret, deployments } = rolloutObjects(options);
  const way = [
    serviceNow(parts, { tool, namespace, rolloutId: id }),
    ...(hasAddress(tool, config) ? [ingress({ tool, namespace }, config)] : []),
  ];
  const budgets = deployments.map((one) => budgetOf(one));
  return [
    ...(secret === null ? [] : [secret]),
    ...deployments,
    ...budgets,
    ...cronJobs(options),
    ...(hasWay(parts, options) ? way : []),
  ];
}

/**
 * Returns the disruption budget for a Deployment that does not exist yet. The budget has no owner, because the owner
 * would be that Deployment.
 */
function budgetOf(deployment: Applied<V1Deployment>): Any {
  const { metadata, spec } = deployment as V1Deployment & Applied<V1Deployment>;
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata,
    spec: { maxUnavailable: 1, selector: spec?.selector },
  } as Any;
}

/** Returns the Service and the Ingress that exist and that a rollout without a web process would remove. */
async function unneeded(
  parts: ObjectParts,
  options: ReleaseOptions,
  signal: AbortSignal,
): Promise<{ kind: string; name: string }[]> {
  if (hasWay(parts, options)) return [];
  const { cluster, config } = parts;
  const { release, namespace } = options.rollout;
  const { tool } = release;
  const way: Any[] = [service({ tool, namespace, rolloutId: null }), ingress({ tool, namespace }, config)];
  const found = await Promise.all(
    way.map(async (object) =>
      (await findObject(cluster, object, { signal })) === null ? [] : [named(object)],
    ),
  );
  return found.flat();
}

/** True if the tool needs a Service and an Ingress after the rollout. */
function hasWay({ isInMaintenance }: ObjectParts, { rollout: { release } }: ReleaseOptions): boolean {
  return isInMaintenance?.(release.tool) === true || scalable(release).some(({ type }) => type === 'web');
}

/** Returns the kind of an object and the name that people see. See `ObjectChange.name`. */
function named({ kind, metadata }: Any): { kind: string; name: string } {
  const { labels } = metadata as { readonly labels?: Record<string, string> };
  if (kind === 'Secret') return { kind, name: 'config' };
  const isOfProcess = kind === 'Deployment' || kind === 'PodDisruptionBudget';
  return { kind, name: (isOfProcess ? labels?.[LABELS.process] : undefined) ?? metadata.name };
}

function partsOfDeployment({ metadata }: V1Deployment): { kind: string; name: string }[] {
  const name = metadata?.labels?.[LABELS.process] ?? metadata?.name ?? '';
  return [
    { kind: 'Deployment', name },
    { kind: 'PodDisruptionBudget', name },
  ];
}

/**
 * Returns the parts of an object that decide whether a rollout would change it: `changesOf` compares them before and
 * after a server-side dry run.
 */
function contentOf(object: KubernetesObject): object {
  const { metadata, status: _, ...rest } = object as KubernetesObject & { status?: unknown };
  return { ...rest, labels: metadata?.labels ?? {}, annotations: metadata?.annotations ?? {} };
}
