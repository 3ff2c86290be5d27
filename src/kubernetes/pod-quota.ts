import type { V1ResourceQuota } from '@kubernetes/client-node';
import { DeployError } from '../core/errors.ts';
import { parseQuantity } from '../core/text/quantity.ts';
import type { Cluster } from './cluster.ts';
import { refusalIn } from './faults/api-refusals.ts';
import { retrying } from './retry.ts';

/** The names under which a quota can limit the number of pods. */
const NAMES = ['pods', 'count/pods'];

/**
 * Checks that the quotas of a namespace have room for `pods` more pods. A server-side dry run cannot check this,
 * because it asks for one pod at a time.
 *
 * @returns false if this cannot be known: this server may not read quotas, or a quota that limits pods has a scope, so
 * the quota may not count these pods.
 * @throws DeployError `QUOTA_EXCEEDED` if there is no room; `CLUSTER_UNREACHABLE` if the API does not answer; the
 * signal's reason when the signal fires.
 */
export async function assertPodsLeft(
  cluster: Pick<Cluster, 'core'>,
  { namespace, pods, signal }: { namespace: string; pods: number; signal: AbortSignal },
): Promise<boolean> {
  const quotas = await retrying(() => cluster.core.listNamespacedResourceQuota({ namespace }), {
    signal,
  }).catch((error: unknown) => {
    if (error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN') return null;
    throw error;
  });
  for (const quota of quotas?.items ?? []) {
    const refusal = countRefusal(quota, pods);
    if (refusal !== null) throw refusal;
  }
  return quotas?.items.every((quota) => !hasScope(quota) || isOfOthers(quota) || !limitsPods(quota)) === true;
}

/**
 * True if the quota never counts the pods that a rollout keeps running. These pods have a memory limit and no deadline,
 * so a quota of the scope `BestEffort` or `Terminating` leaves them out.
 */
function isOfOthers({ spec }: V1ResourceQuota): boolean {
  return spec?.scopes?.some((scope) => scope === 'BestEffort' || scope === 'Terminating') === true;
}

function hasScope({ spec }: V1ResourceQuota): boolean {
  return (spec?.scopes ?? []).length > 0 || spec?.scopeSelector !== undefined;
}

function limitsPods({ status }: V1ResourceQuota): boolean {
  return NAMES.some((name) => status?.hard?.[name] !== undefined);
}

/**
 * Returns the error with which the cluster would refuse to create `pods` more pods. Null if the quota has room for all
 * of them, or if it has a scope, so that it may not count them.
 */
function countRefusal(quota: V1ResourceQuota, pods: number): DeployError | null {
  if (hasScope(quota)) return null;
  const { metadata, status } = quota;
  for (const name of NAMES) {
    const most = status?.hard?.[name];
    if (most === undefined) continue;
    const hard = parseQuantity(most) ?? 0;
    const used = parseQuantity(status?.used?.[name]) ?? 0;
    if (used + pods <= hard) continue;
    return refusalIn(
      `exceeded quota: ${metadata?.name}, requested: ${name}=${pods}, used: ${name}=${used}, limited: ${name}=${hard}`,
    );
  }
  return null;
}
