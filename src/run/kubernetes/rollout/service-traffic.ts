import { setTimeout as wait } from 'node:timers/promises';
import { PatchStrategy, type V1Endpoint, type V1Service } from '@kubernetes/client-node';
import { DeployError } from '../../../core/errors.ts';
import { scalable } from '../../../core/replicas.ts';
import type { Process } from '../../../core/types.ts';
import { type Applied, applyObject, FIELD_MANAGER } from '../../../kubernetes/apply.ts';
import { isNotFound } from '../../../kubernetes/faults/api-refusals.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import { LABELS, LIVE, objectName, type Rollout } from '../manifests/object-names.ts';
import {
  deployed,
  hasAddress,
  ingress,
  replicaCount,
  service,
  type TrafficOptions,
} from '../manifests/rollout-manifests.ts';
import type { ObjectParts } from '../rollout-objects.ts';

/**
 * After a change of a tool's Service, the cluster's controllers may take this many milliseconds until the requests
 * follow it. The controllers are slow after a restart of the API server.
 */
const FOLLOW_MS = 30_000;
const LOOK_MS = 50;

/** Where a tool's Service sends requests. */
export interface Traffic {
  /**
   * The rollout that gets the requests, or would get them if the tool were not in maintenance. `NO_ROLLOUT` if there is
   * no such rollout.
   */
  readonly rolloutId: string;
  /** True if the pod that shows the page about maintenance gets the requests. */
  readonly isPage: boolean;
}

/** Returns where a tool's Service sends requests. Null if there is no Service, or if the Service names no rollout. */
export async function trafficOf(
  { cluster }: ObjectParts,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<Traffic | null> {
  const found = await retrying(() => cluster.core.readNamespacedService({ name: tool, namespace }), {
    signal,
  }).catch(nullIfMissing);
  const selected = found?.spec?.selector?.[LABELS.rollout];
  if (selected !== undefined) return { rolloutId: selected, isPage: false };
  const behind = found?.metadata?.annotations?.[LABELS.rollout];
  return behind === undefined ? null : { rolloutId: behind, isPage: true };
}

/** Creates the Service and the Ingress of a tool, as `makeWay` does. Does nothing if the rollout has no web process. */
export async function prepareTraffic(
  parts: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
): Promise<void> {
  if (hasWeb(rollout)) await makeWay(parts, rollout.release.tool, rollout.namespace, signal);
}

/**
 * Creates the Service of a tool if it is missing. A new Service selects no rollout. Also creates the Ingress of the
 * tool, so that the ingress controller knows the host, or removes the Ingress if the host is this server's own.
 */
export async function makeWay(
  parts: ObjectParts,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const { cluster, config } = parts;
  if ((await trafficOf(parts, tool, namespace, signal)) === null) {
    await applyObject(cluster, serviceNow(parts, { tool, namespace, rolloutId: null }), { signal });
  }
  if (hasAddress(tool, config)) await applyObject(cluster, ingress({ tool, namespace }, config), { signal });
  else await removeIngress(parts, tool, namespace, signal);
}

/**
 * Sends the tool's requests to this rollout. Resolves when the endpoints of the Service have changed, and the ingress
 * controller has had the time `ingress_time` to follow. From then on, no request goes to another rollout. If
 * the rollout has no web process, removes the tool's Service and Ingress instead. If the tool is in maintenance,
 * visitors still get the page, also if the rollout has no web process, and this function does not wait.
 */
export async function switchTraffic(
  parts: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
): Promise<void> {
  const { cluster, config } = parts;
  const { namespace, release, id } = rollout;
  const { tool } = release;
  if (parts.isInMaintenance?.(tool) === true) {
    await makeWay(parts, tool, namespace, signal);
    await applyObject(cluster, serviceNow(parts, { tool, namespace, rolloutId: id }), { signal });
    return;
  }
  if (!hasWeb(rollout)) {
    await removeWay(parts, tool, namespace, signal);
    return;
  }
  await applyObject<V1Service>(cluster, service({ tool, namespace, rolloutId: id }), { signal });
  await endpointsFollow(parts, rollout, signal);
  await wait(config.ingress_time, null, { signal });
}

/**
 * Stops all requests to a tool. The ingress controller then answers that the service is unavailable. If the tool is in
 * maintenance, visitors still get the page.
 */
export async function stopTraffic(
  parts: ObjectParts,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  if ((await trafficOf(parts, tool, namespace, signal)) === null) return;
  await applyObject(parts.cluster, serviceNow(parts, { tool, namespace, rolloutId: null }), { signal });
  await wait(parts.config.ingress_time, null, { signal });
}

/**
 * Gives the Deployments of `processes`, by default all of the rollout, the annotation `LIVE`. The annotation says that
 * the rollout has once been live.
 */
export async function markLive(
  { cluster }: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
  processes: readonly Process[] = deployed(rollout),
): Promise<void> {
  const { namespace } = rollout;
  for (const { type } of processes) {
    const metadata = { name: objectName(type, rollout), namespace, annotations: { [LIVE]: 'true' } };
    const mark = { apiVersion: 'apps/v1', kind: 'Deployment', metadata };
    await retrying(
      () =>
        cluster.objects.patch(mark, undefined, undefined, FIELD_MANAGER, undefined, PatchStrategy.MergePatch),
      { signal },
    );
  }
}

/**
 * Returns the Service that a tool is to have now. The Service selects the pod with the page about maintenance if the
 * tool is in maintenance, otherwise the web pods of the rollout `options.rolloutId`.
 */
export function serviceNow(
  { isInMaintenance }: Pick<ObjectParts, 'isInMaintenance'>,
  options: TrafficOptions,
): Applied<V1Service> {
  return service({ ...options, isInMaintenance: isInMaintenance?.(options.tool) });
}

function hasWeb(rollout: Rollout): boolean {
  return scalable(rollout.release).some(({ type }) => type === 'web');
}

/**
 * Waits until the cluster sends a tool's requests only to this rollout. Every endpoint of the Service must be a pod of
 * this rollout, and at least one endpoint must be ready, unless the rollout is scaled to 0. After `followMs`, the
 * condition is weaker: no endpoint need be ready, and if no pod of the rollout is ready, the Service need not have
 * endpoints.
 *
 * @throws DeployError `CLUSTER_UNREACHABLE` if requests do not go to this rollout after `followMs`. The caller must
 * then keep the old pods.
 */
export async function endpointsFollow(
  parts: Pick<ObjectParts, 'cluster' | 'pods'>,
  rollout: Rollout,
  signal: AbortSignal,
  followMs: number = FOLLOW_MS,
): Promise<void> {
  const { cluster, pods } = parts;
  const { namespace, release } = rollout;
  const end = performance.now() + followMs;
  for (;;) {
    const endpoints = await endpointsOf({ cluster }, release.tool, namespace, signal);
    const web = pods.ofRollout(rollout).filter(({ type }) => type === 'web');
    const mine = new Set(web.map(({ uid }) => uid));
    const areMine = endpoints.every(({ targetRef }) => mine.has(targetRef?.uid ?? ''));
    const isReady = endpoints.some(({ conditions }) => conditions?.ready !== false);
    if (areMine && (isReady || replicaCount(rollout, 'web') === 0)) return;
    if (performance.now() > end) {
      const isListed = endpoints.length > 0 || !web.some((pod) => pod.isReady);
      if (areMine && isListed) return;
      throw new DeployError(
        'CLUSTER_UNREACHABLE',
        `the cluster does not send the requests of the tool ${release.tool} to v${release.version} yet`,
        'Tell the operator: the controllers of the cluster are slow, perhaps because its API server was restarted.',
      );
    }
    await wait(LOOK_MS, null, { signal });
  }
}

/**
 * Lists the endpoints of a tool's Service. Leaves out EndpointSlices that others have created by hand, because their
 * endpoints never become pods of a rollout.
 */
export async function endpointsOf(
  { cluster }: Pick<ObjectParts, 'cluster'>,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<V1Endpoint[]> {
  const labelSelector = `kubernetes.io/service-name=${tool},endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io`;
  const { items } = await retrying(
    () => cluster.discovery.listNamespacedEndpointSlice({ namespace, labelSelector }),
    { signal },
  );
  return items.flatMap((slice) => slice.endpoints ?? []);
}

/** Removes the Service and the Ingress of a tool, if it has them. */
export async function removeWay(
  parts: ObjectParts,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const { core } = parts.cluster;
  await removeIngress(parts, tool, namespace, signal);
  await retrying(() => core.deleteNamespacedService({ name: tool, namespace }), { signal }).catch(
    nullIfMissing,
  );
}

/** Removes the tool's Ingress, if it has one. */
export async function removeIngress(
  { cluster }: ObjectParts,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  await retrying(() => cluster.networking.deleteNamespacedIngress({ name: `${tool}-subdomain`, namespace }), {
    signal,
  }).catch(nullIfMissing);
}

function nullIfMissing(error: unknown): null {
  if (isNotFound(error)) return null;
  throw error;
}
