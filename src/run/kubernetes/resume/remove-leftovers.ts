import type { V1Deployment } from '@kubernetes/client-node';
import { DeployError } from '../../../core/errors.ts';
import { RELEASE_TYPE } from '../../../core/replicas.ts';
import { isNoNamespace } from '../../../kubernetes/faults/api-refusals.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import { LABELS, LIVE, MANAGED_BY, NO_ROLLOUT } from '../manifests/object-names.ts';
import type { LiveRollouts } from '../rollout/live-rollouts.ts';
import { trafficOf } from '../rollout/service-traffic.ts';
import { deploymentsOf, removeRollout } from '../rollout-objects.ts';
import { cronJobsOf } from '../schedules/schedules.ts';

/**
 * Removes everything that a killed server left unfinished for a tool: rollouts that this server does not know
 * (`knownOf`), the Jobs of test and release commands, and the Secrets of both. Secrets are deleted by their labels,
 * because this server may not read Secrets. If the store has no live release of the tool, but the cluster has a rollout
 * that went live, this rollout stays: the store is new or has lost its releases.
 *
 * @returns false if nothing of the tool is live, and the leftovers could not be removed because the namespace is
 * missing, is being deleted, or gives this server too few rights.
 * @throws DeployError if the API refuses the call for another reason or does not answer, or if this server stops.
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
  const deployments = await deploymentsOf(parts, tool, namespace, closing);
  const unknown =
    live.of(tool) === null ? await wentLive(live, tool, namespace, deployments) : new Set<string>();
  // Ask `live` again before each removal, because a push may have begun a new rollout since the previous removal.
  const kept = () => new Set([...unknown, ...live.knownOf(tool)]);
  for (const { metadata } of deployments) {
    const rolloutId = metadata?.labels?.[LABELS.rollout] ?? '';
    if (kept().has(rolloutId)) continue;
    await removeRollout(parts, { namespace, rolloutId, how: 'now', types: null });
  }
  const others = (...more: string[]) => {
    const ids = [...kept()];
    const notKept = ids.length === 0 ? [] : [`${LABELS.rollout} notin (${ids.join(',')})`];
    const ours = [`app.kubernetes.io/managed-by=${MANAGED_BY}`, `${LABELS.tool}=${tool}`, LABELS.rollout];
    return { namespace, labelSelector: [...ours, ...notKept, ...more].join(',') };
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

/**
 * Returns, and logs, the ids of the tool's rollouts in the cluster that have been live at some time. Leaves out the
 * rollouts that this server knows. Call this only if the store has no live release of the tool.
 */
async function wentLive(
  live: LiveRollouts,
  tool: string,
  namespace: string,
  deployments: readonly V1Deployment[],
): Promise<ReadonlySet<string>> {
  const { parts, log } = live;
  const selected = (await trafficOf(parts, tool, namespace, parts.closing))?.rolloutId ?? null;
  // A CronJob is created only when its rollout goes live, so each rollout with a CronJob has been live.
  const schedules = await cronJobsOf(parts, tool, namespace, parts.closing);
  const marked = deployments.filter(({ metadata }) => metadata?.annotations?.[LIVE] === 'true');
  const ids = [...marked, ...schedules].map(({ metadata }) => metadata?.labels?.[LABELS.rollout] ?? '');
  const known = live.knownOf(tool);
  if (selected !== null && selected !== NO_ROLLOUT) ids.push(selected);
  const found = new Set(ids.filter((id) => id !== '' && !known.has(id)));
  if (found.size > 0)
    log.error(
      {
        tool,
        namespace,
        rollouts: [...found],
        hint: 'Restore the store from a backup, or push the tool again.',
      },
      'the cluster runs a release that the store does not know: it stays until the next push of its tool',
    );
  return found;
}
