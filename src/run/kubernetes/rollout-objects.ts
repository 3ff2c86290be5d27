import type {
  V1Deployment,
  V1LimitRange,
  V1Namespace,
  V1NetworkPolicy,
  V1ResourceQuota,
  V1Secret,
} from '@kubernetes/client-node';
import { DeployError } from '../../core/errors.ts';
import { type Applied, applyObject, applyUnlessChanged } from '../../kubernetes/apply.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { retrying, retryRemoval } from '../../kubernetes/retry.ts';
import { mostMemory } from '../service-limits.ts';
import type { ManifestConfig } from './manifests/manifest-config.ts';
import { hasOwnLimits, namespaceLimits, toolNamespace } from './manifests/namespace-manifests.ts';
import { networkPolicy } from './manifests/network-policy.ts';
import { COMPONENT, LABELS, ofRollout, type Rollout, SCHEDULED } from './manifests/object-names.ts';
import {
  disruptionBudget,
  ownedBy,
  ownersOfConfig,
  type ReleaseOptions,
  rolloutObjects,
} from './manifests/rollout-manifests.ts';
import type { ToolPod, ToolPods } from './pods/tool-pods.ts';
import { leaveConfigToRuns } from './schedules/schedules.ts';

export interface ObjectParts {
  readonly cluster: Cluster;
  readonly pods: ToolPods;
  readonly config: ManifestConfig;
  /**
   * True if the tool is in maintenance: its visitors get the page about maintenance. By default, no tool is in
   * maintenance.
   */
  readonly isInMaintenance?: (tool: string) => boolean;
  /**
   * Fires when this server stops. Then waits for pods and calls to the cluster end, except removals (`retryRemoval`).
   */
  readonly closing: AbortSignal;
}

const AGAIN_MS = 1000;
const GONE_MS = 10 * 60_000;
/** A pod that still exists this many milliseconds after its grace time counts as lost: its node does not answer. */
const OVERDUE_MS = 30_000;

/**
 * With the setting `make_namespaces`, creates the tool's namespace if it is missing, and sets the NetworkPolicy of the
 * namespace. Sets a quota only in a namespace that this server created, and keeps a quota that somebody else has
 * changed. A rollout of a preview changes no existing quota. Without the setting, does nothing.
 */
export async function ensureNamespace(
  parts: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
): Promise<void> {
  const { cluster } = parts;
  const { namespace, limits, policies } = await namespaceObjects(parts, rollout, signal);
  if (namespace !== null) await applyObject(cluster, namespace, { signal });
  for (const one of limits) await applyUnlessChanged(cluster, one, { signal });
  for (const one of policies) await applyObject(cluster, one, { signal });
}

/**
 * The namespace of a tool, and the objects in it that all rollouts share. Has only the fields that this server sets.
 */
export interface NamespaceObjects {
  /**
   * The namespace to create. Null if the namespace exists, if this server may not list namespaces, or if the setting
   * `make_namespaces` is off.
   */
  readonly namespace: Applied<V1Namespace> | null;
  /**
   * The quota and the default limits of the namespace, as this server sets them. `ensureNamespace` keeps an object that
   * somebody else has changed.
   */
  readonly limits: readonly Applied<V1ResourceQuota | V1LimitRange>[];
  readonly policies: readonly Applied<V1NetworkPolicy>[];
}

/**
 * Asks the cluster which objects the namespace of a tool needs for this rollout: the Namespace if it is missing, its quota
 * and default limits, and its network policies. Creates nothing. Returns no objects if `make_namespaces` is off.
 */
export async function namespaceObjects(
  { cluster, config }: ObjectParts,
  { namespace, release, previewOf }: Rollout,
  signal: AbortSignal,
): Promise<NamespaceObjects> {
  if (!config.make_namespaces) return { namespace: null, limits: [], policies: [] };
  const found = await retrying(
    () => cluster.core.listNamespace({ fieldSelector: `metadata.name=${namespace}` }),
    { signal },
  ).catch((error: unknown) => {
    // If this server may not list namespaces, it creates no namespace. If the namespace is missing, creating the first
    // object in it then fails.
    if (error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN') return null;
    throw error;
  });
  const tool = previewOf ?? release.tool;
  const there = found?.items[0];
  const isNew = found !== null && there === undefined;
  const setsLimits = isNew || (previewOf === undefined && there !== undefined && hasOwnLimits(there));
  const run_memory = previewOf === undefined ? mostMemory(release, config.run_memory) : config.run_memory;
  const apiServers = await apiServerAddresses(cluster, signal);
  return {
    namespace: isNew ? toolNamespace(tool, namespace) : null,
    limits: setsLimits ? namespaceLimits(tool, namespace, { ...config, run_memory }) : [],
    policies: [networkPolicy({ tool, namespace, apiServers, config })],
  };
}

/**
 * Returns the addresses of the cluster's API servers, which register themselves as endpoints of the Service
 * `kubernetes`.
 *
 * @see https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--endpoint-reconciler-type)
 */
async function apiServerAddresses(cluster: Cluster, signal: AbortSignal): Promise<string[]> {
  const labelSelector = 'kubernetes.io/service-name=kubernetes';
  const { items } = await retrying(
    () => cluster.discovery.listNamespacedEndpointSlice({ namespace: 'default', labelSelector }),
    { signal },
  );
  return items.flatMap(({ endpoints = [] }) => endpoints.flatMap(({ addresses }) => addresses));
}

/**
 * Creates the Secret, the Deployments and the disruption budgets of a rollout. The cluster then creates the pods.
 * Creates nothing if the rollout has neither Deployments nor schedules.
 *
 * @param there - Deployments of the rollout that exist already, which stay as they are.
 */
export async function makeRollout(
  { cluster }: ObjectParts,
  options: ReleaseOptions,
  signal: AbortSignal,
  there: readonly V1Deployment[] = [],
): Promise<void> {
  const { config, deployments } = rolloutObjects(options);
  if (config === null) return;
  const owned = (present: readonly V1Deployment[]): Applied<V1Secret> => {
    const ownerReferences = ownersOfConfig(options.rollout, present);
    const { metadata } = config;
    return ownerReferences.length === 0 ? config : { ...config, metadata: { ...metadata, ownerReferences } };
  };
  await applyObject<V1Secret>(cluster, owned(there), { signal });
  const names = new Set(there.map(({ metadata }) => metadata?.name));
  const missing = deployments.filter(({ metadata }) => !names.has(metadata.name));
  const made = await Promise.all(
    missing.map(async (deployment) => {
      const found: V1Deployment = await applyObject(cluster, deployment, { signal });
      for (const owner of ownedBy([found]))
        await applyObject(cluster, disruptionBudget(deployment, owner), { signal });
      return found;
    }),
  );
  if (made.length > 0) await applyObject<V1Secret>(cluster, owned([...there, ...made]), { signal });
}

/** Lists the Deployments of all rollouts that this server made for a tool. */
export async function deploymentsOf(
  { cluster }: Pick<ObjectParts, 'cluster'>,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<V1Deployment[]> {
  const labelSelector = `${LABELS.tool}=${tool},${LABELS.rollout}`;
  const { items } = await retrying(
    () => cluster.apps.listNamespacedDeployment({ namespace, labelSelector }),
    { signal },
  );
  return items;
}

export interface Removal {
  readonly namespace: string;
  readonly rolloutId: string;
  /** `now` sends SIGKILL after a second; `gracefully` gives the pods their grace time. */
  readonly how: 'now' | 'gracefully';
  /**
   * The process types whose objects are removed. Null removes the objects of all types and the Secret with the config
   * vars of the rollout. With `gracefully`, that Secret stays as long as scheduled runs use it.
   */
  readonly types: readonly string[] | null;
}

/**
 * Removes Deployments of a rollout with their pods and, if `removal.types` is null, the Secret of the rollout. Keeps
 * CronJobs and their runs. Resolves when the pods no longer exist or are on lost nodes, at the latest after 10 minutes.
 * If this server stops, resolves as soon as the cluster has accepted the deletion.
 *
 * @returns the names of pods that stay because their nodes are lost. The cluster deletes such pods when it deletes the
 * node.
 */
export async function removeRollout(parts: ObjectParts, removal: Removal): Promise<string[]> {
  const { cluster, pods, closing } = parts;
  const { namespace, rolloutId, types, how } = removal;
  const labelSelector =
    types === null
      ? ofRollout(rolloutId)
      : `${ofRollout(rolloutId)},${LABELS.process} in (${types.join(',')})`;
  const call = { namespace, labelSelector, propagationPolicy: 'Background' };
  // Delete the Secret before the Deployments, because running processes no longer need it. If this server is killed in
  // between, the next server still finds the rollout by its Deployments.
  if (types === null) {
    if (how === 'gracefully') await retryRemoval(() => leaveConfigToRuns(parts, namespace, rolloutId));
    await retryRemoval(() => cluster.core.deleteCollectionNamespacedSecret({ namespace, labelSelector }));
  }
  await retryRemoval(() => cluster.apps.deleteCollectionNamespacedDeployment(call));
  if (how === 'now') await retryRemoval(() => cluster.apps.deleteCollectionNamespacedReplicaSet(call));
  const end = performance.now() + GONE_MS;
  for (let hurriedAt = -AGAIN_MS; performance.now() < end; ) {
    const isMeant = ({ type, isScheduled }: ToolPod) =>
      !isScheduled && (types === null || types.includes(type));
    const left = pods.ofRollout({ id: rolloutId, namespace }).filter(isMeant);
    if (left.every(isOverdue)) return left.map(({ podName }) => podName);
    if (how === 'now' && performance.now() - hurriedAt > AGAIN_MS) {
      hurriedAt = performance.now();
      await retryRemoval(() =>
        cluster.core.deleteCollectionNamespacedPod({
          namespace,
          labelSelector: `${labelSelector},${COMPONENT}!=${SCHEDULED}`,
          gracePeriodSeconds: 1,
        }),
      );
    }
    if (closing.aborted) break;
    await pods.change(AGAIN_MS, closing).catch(() => {});
  }
  return [];
}

/**
 * True if a pod still exists 30 s after the end of its grace time. Uses only this server's clock, because the clock of
 * the API server may differ.
 */
export function isOverdue({ pod, terminatingSince }: ToolPod): boolean {
  if (terminatingSince === null) return false;
  const graceMs = (pod.metadata?.deletionGracePeriodSeconds ?? 0) * 1000;
  return performance.now() - terminatingSince > graceMs + OVERDUE_MS;
}
