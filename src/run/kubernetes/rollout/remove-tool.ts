import { retrying } from '../../../kubernetes/retry.ts';
import { LABELS, MANAGED_BY } from '../manifests/object-names.ts';
import { tlsSecretOf } from '../manifests/rollout-manifests.ts';
import { isOverdue, type ObjectParts } from '../rollout-objects.ts';
import { removeWay } from './service-traffic.ts';

const AGAIN_MS = 1000;
const GONE_MS = 10 * 60_000;

/**
 * Removes the objects of a tool that has been stopped, also those that earlier runs of the server created, and the
 * Secret with its certificate, if each tool has its own. Keeps the namespace with its quota and NetworkPolicy. Resolves
 * when the tool's pods no longer exist or are on lost nodes, at the latest after 10 minutes.
 *
 * @throws DeployError if the API refuses a call or does not answer, or if this server stops.
 */
export async function removeTool(
  parts: ObjectParts,
  { tool, namespace }: { readonly tool: string; readonly namespace: string },
): Promise<void> {
  const { cluster, config, pods, closing: signal } = parts;
  await removeWay(parts, tool, namespace, signal);
  const labelSelector = `app.kubernetes.io/managed-by=${MANAGED_BY},${LABELS.tool}=${tool}`;
  const call = { namespace, labelSelector };
  const withParts = { ...call, propagationPolicy: 'Background' };
  const removePods = () => cluster.core.deleteCollectionNamespacedPod({ ...call, gracePeriodSeconds: 1 });
  // Delete the Secret with the certificate here: a program that makes certificates, such as cert-manager, does not
  // delete it when the Ingress is deleted.
  const certificate = config.ingress_tls_secret.includes('TOOL') ? tlsSecretOf(tool, config) : null;
  for (const remove of [
    () => cluster.core.deleteCollectionNamespacedSecret(call),
    ...(certificate === null
      ? []
      : [
          () =>
            cluster.core.deleteCollectionNamespacedSecret({
              namespace,
              fieldSelector: `metadata.name=${certificate}`,
            }),
        ]),
    () => cluster.apps.deleteCollectionNamespacedDeployment(withParts),
    () => cluster.apps.deleteCollectionNamespacedReplicaSet(withParts),
    () => cluster.batch.deleteCollectionNamespacedJob(withParts),
    removePods,
  ])
    await retrying<unknown>(remove, { signal });
  const isLeft = () => !pods.of(tool).every(isOverdue);
  for (const end = performance.now() + GONE_MS; isLeft() && performance.now() < end; ) {
    await pods.change(AGAIN_MS, signal);
    if (isLeft()) await retrying<unknown>(removePods, { signal });
  }
}
