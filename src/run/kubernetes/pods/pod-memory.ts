import { untilAborted } from '../../../core/concurrency/until-aborted.ts';
import { parseQuantity } from '../../../core/text/quantity.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { CONTAINER, LABELS } from '../manifests/object-names.ts';

interface PodMetrics {
  readonly metadata?: { readonly name?: string };
  readonly containers?: readonly { readonly name?: string; readonly usage?: { readonly memory?: unknown } }[];
}

const ANSWER_MS = 3000;

/**
 * Returns the memory that each pod of a tool uses, in bytes, by the name of the pod. The numbers are up to a minute
 * old. The map is empty if the cluster has no metrics server, or if that server refuses or does not answer in 3 s.
 *
 * @see https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/
 */
export async function podMemory(
  cluster: Cluster,
  tool: string,
  namespace: string,
): Promise<ReadonlyMap<string, number>> {
  const asking = cluster.custom.listNamespacedCustomObject({
    group: 'metrics.k8s.io',
    version: 'v1beta1',
    namespace,
    plural: 'pods',
    labelSelector: `${LABELS.tool}=${tool}`,
  });
  const list: { items?: readonly PodMetrics[] } = await untilAborted(
    asking,
    AbortSignal.timeout(ANSWER_MS),
  ).catch(() => ({}));
  return new Map(
    (list.items ?? []).flatMap(({ metadata, containers = [] }): [string, number][] => {
      const bytes = parseQuantity(containers.find(({ name }) => name === CONTAINER)?.usage?.memory);
      return metadata?.name === undefined || bytes === null ? [] : [[metadata.name, bytes]];
    }),
  );
}
