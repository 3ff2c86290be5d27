import { setTimeout as wait } from 'node:timers/promises';
import { PatchStrategy, type V1Service } from '@kubernetes/client-node';
import { DeployError } from '../../../core/errors.ts';
import { scalable } from '../../../core/replicas.ts';
import type { Process } from '../../../core/types.ts';
import { applyObject, FIELD_MANAGER } from '../../../kubernetes/apply.ts';
import { isNotFound } from '../../../kubernetes/faults/api-refusals.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import { LABELS, LIVE, objectName, type Rollout } from '../manifests/object-names.ts';
import { deployed, hasAddress, ingress, replicaCount, service } from '../manifests/rollout-manifests.ts';
import type { ObjectParts } from '../rollout-objects.ts';

/**
 * How many milliseconds the cluster's controllers may take to follow a change. They are slow after a restart of the API
 * server.
 */
const FOLLOW_MS = 30_000;
const LOOK_MS = 50;

/** Returns the id of the rollout that a tool's Service selects: `NO_ROLLOUT` for none, null without a Service. */
export async function liveRollout(
  { cluster }: ObjectParts,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<string | null> {
  const found = await retrying(() => cluster.core.readNamespacedService({ name: tool, namespace }), {
    signal,
  }).catch(nullIfMissing);
  return found?.spec?.selector?.[LABELS.rollout] ?? null;
}

/**
 * Prepares a tool for requests, unless the rollout has no web process. Creates its Service, without a target, if the
 * Service is missing. Creates its Ingress, so that the ingress controller knows the host, or removes the Ingress if the
 * host is this server's own.
 */
export async function prepareTraffic(
  parts: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
): Promise<void> {
  if (!hasWeb(rollout)) return;
  const { cluster, config } = parts;
  const { namespace, release } = rollout;
  const { tool } = release;
  if ((await liveRollout(parts, tool, namespace, signal)) === null) {
    await applyObject(cluster, service({ tool, namespace, rolloutId: null }), { signal });
  }
  if (hasAddress(tool, config)) await applyObject(cluster, ingress({ tool, namespace }, config), { signal });
  else await removeIngress(parts, tool, namespace, signal);
}

/**
 * Sends the tool's requests to this rollout. Resolves when the endpoints of the Service have changed, and the setting
 * `ingress_time` has passed for the ingress controller to follow. From then on, no request goes to another rollout. If
 * the rollout has no web process, removes the tool's Service and Ingress instead.
 */
export async function switchTraffic(
  parts: ObjectParts,
  rollout: Rollout,
  signal: AbortSignal,
): Promise<void> {
  const { cluster, config } = parts;
  const { namespace, release, id } = rollout;
  const { tool } = release;
  if (!hasWeb(rollout)) {
    await removeWay(parts, tool, namespace, signal);
    return;
  }
  await applyObject<V1Service>(cluster, service({ tool, namespace, rolloutId: id }), { signal });
  await endpointsFollow(parts, rollout, signal);
  await wait(config.ingress_time, null, { signal });
}

/** Stops all requests to a tool. The ingress controller then answers that the service is unavailable. */
export async function stopTraffic(
  parts: ObjectParts,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  if ((await liveRollout(parts, tool, namespace, signal)) === null) return;
  await applyObject<V1Service>(parts.cluster, service({ tool, namespace, rolloutId: null }), { signal });
  await wait(parts.config.ingress_time, null, { signal });
}

/** Gives Deployments of a rollout, by default all, the annotation `LIVE`: it says that the rollout has once been live. */
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

function hasWeb(rollout: Rollout): boolean {
  return scalable(rollout.release).some(({ type }) => type === 'web');
}

/**
 * Waits until the cluster sends a tool's requests only to this rollout. Every endpoint of the Service must be a pod of
 * this rollout, and one must be ready unless the rollout is scaled to 0. After `followMs`, endpoints need not be ready.
 * But if a pod of the rollout is ready, the Service must have an endpoint.
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
  // Leave out EndpointSlices that others have created by hand, because their endpoints never become pods of this
  // rollout.
  const labelSelector = `kubernetes.io/service-name=${release.tool},endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io`;
  const end = performance.now() + followMs;
  for (;;) {
    const { items } = await retrying(
      () => cluster.discovery.listNamespacedEndpointSlice({ namespace, labelSelector }),
      { signal },
    );
    const web = pods.ofRollout(rollout).filter(({ type }) => type === 'web');
    const mine = new Set(web.map(({ uid }) => uid));
    const endpoints = items.flatMap((slice) => slice.endpoints ?? []);
    const areMine = endpoints.every(({ targetRef }) => mine.has(targetRef?.uid ?? ''));
    const isReady = endpoints.some(({ conditions }) => conditions?.ready !== false);
    if (areMine && (isReady || replicaCount(rollout, 'web') === 0)) return;
    if (performance.now() > end) {
      const isListed = endpoints.length > 0 || !web.some((pod) => pod.isReady);
      if (areMine && isListed) return;
      throw new DeployError(
        'CLUSTER_UNREACHABLE',
        `the cluster does not send the requests of ${release.tool} to v${release.version} yet`,
        'Tell the operator: the controllers of the cluster are slow, perhaps because its API server was restarted.',
      );
    }
    await wait(LOOK_MS, null, { signal });
  }
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
