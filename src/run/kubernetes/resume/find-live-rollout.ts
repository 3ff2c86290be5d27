import type { V1CronJob, V1Deployment } from '@kubernetes/client-node';
import { scheduledIn } from '../../../core/replicas.ts';
import { LABELS, LIVE, type Rollout } from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import { deployed } from '../manifests/rollout-manifests.ts';

/** The rollouts of a tool that the cluster has at a start of the server. */
export interface FoundRollout {
  /** The id of the rollout to resume. Null if the cluster has no complete rollout of the live release. */
  readonly rolloutId: string | null;
  /** The ids of all other rollouts of the tool. The server must end them. */
  readonly others: readonly string[];
}

/**
 * Chooses the rollout to resume. A rollout of the given release is a candidate if it has every Deployment that the
 * release needs. If the release needs no Deployment, a candidate must have every CronJob. Of the candidates, the
 * rollout that gets the requests is chosen. If none gets requests, a rollout that was once live is chosen, or else the
 * newest rollout.
 *
 * @param selected - The id of the rollout that the tool's Service selects, as `trafficOf` returns it. Null if the tool
 * has no Service.
 */
export function findLiveRollout(
  objects: readonly (V1Deployment | V1CronJob)[],
  { release, replicas }: Pick<Rollout, 'release' | 'replicas'>,
  selected: string | null,
): FoundRollout {
  const staying = deployed({ release, replicas });
  const needed = staying.length > 0 ? staying : scheduledIn(release);
  const wanted = needed.map(({ type }) => labelValue(type));
  const rollouts = Map.groupBy(objects, ({ metadata }) => metadata?.labels?.[LABELS.rollout] ?? '');
  const whole = [...rollouts].filter(([, parts]) => {
    const labels = parts.map(({ metadata }) => metadata?.labels ?? {});
    return (
      labels.every((one) => one[LABELS.version] === String(release.version)) &&
      wanted.every((type) => labels.some((one) => one[LABELS.process] === type))
    );
  });
  const ranked = whole
    .map(([id, parts]) => ({ id, rank: rankOf(id, parts, selected), madeAt: madeAt(parts) }))
    .sort((a, b) => b.rank - a.rank || b.madeAt - a.madeAt);
  const rolloutId = ranked[0]?.id ?? null;
  return { rolloutId, others: [...rollouts.keys()].filter((id) => id !== rolloutId) };
}

function rankOf(id: string, parts: readonly (V1Deployment | V1CronJob)[], selected: string | null): number {
  if (id === selected) return 2;
  return parts.some(({ metadata }) => metadata?.annotations?.[LIVE] === 'true') ? 1 : 0;
}

function madeAt(parts: readonly (V1Deployment | V1CronJob)[]): number {
  return Math.max(...parts.map(({ metadata }) => new Date(metadata?.creationTimestamp ?? 0).getTime()));
}
