import { DeployError } from '../../../core/errors.ts';
import { RELEASE_TYPE } from '../../../core/replicas.ts';
import { isNoNamespace } from '../../../kubernetes/faults/api-refusals.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import { LABELS, MANAGED_BY } from '../manifests/object-names.ts';
import type { LiveRollouts } from '../rollout/live-rollouts.ts';
import { deploymentsOf, removeRollout } from '../rollout-objects.ts';

/**
 * Removes everything that a killed server left unfinished for a tool: rollouts that never went live, release phases,
 * and their Secrets. Secrets are deleted by their labels, because this server may not read them.
 *
 * @returns false if nothing of the tool is live, and its namespace is missing or this server has no rights in it. There
 * are no leftovers then.
 * @throws as `retrying` does.
 */
export async function removeLeftovers(live: LiveRollouts, tool: string, namespace: string): Promise<boolean> {
  try {
    await removeAll(live, tool, namespace);
    return true;
  } catch (error) {
    const isForbidden = error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN';
    const isNowhere = isForbidden || isNoNamespace(error);
    if (!isNowhere || live.of(tool) !== null) throw error;
    return false;
  }
}

async function removeAll(live: LiveRollouts, tool: string, namespace: string): Promise<void> {
  const { parts } = live;
  const { cluster, closing } = parts;
  for (const { metadata } of await deploymentsOf(parts, tool, namespace, closing)) {
    const rolloutId = metadata?.labels?.[LABELS.rollout] ?? '';
    // `knownOf` is called again before each removal, because a push may have begun meanwhile.
    if (live.knownOf(tool).has(rolloutId)) continue;
    await removeRollout(parts, { namespace, rolloutId, how: 'now', types: null });
  }
  const others = (...more: string[]) => {
    const known = [...live.knownOf(tool)];
    const notKnown = known.length === 0 ? [] : [`${LABELS.rollout} notin (${known.join(',')})`];
    const ours = [`app.kubernetes.io/managed-by=${MANAGED_BY}`, `${LABELS.tool}=${tool}`, LABELS.rollout];
    return { namespace, labelSelector: [...ours, ...notKnown, ...more].join(',') };
  };
  const releasing = `${LABELS.process}=${RELEASE_TYPE}`;
  for (const remove of [
    () =>
      cluster.batch.deleteCollectionNamespacedJob({ ...others(releasing), propagationPolicy: 'Background' }),
    () => cluster.core.deleteCollectionNamespacedPod({ ...others(releasing), gracePeriodSeconds: 1 }),
    () => cluster.core.deleteCollectionNamespacedSecret(others()),
  ]) {
    await retrying<unknown>(remove, { signal: closing });
  }
}
