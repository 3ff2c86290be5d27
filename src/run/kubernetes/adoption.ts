import type { V1Deployment } from '@kubernetes/client-node';
import { stayingUp } from '../../core/replicas.ts';
import type { Release } from '../../core/types.ts';
import { labelValue } from './manifests-pod.ts';
import { LABELS, LIVE } from './names.ts';

/** What of a tool's Deployments is the live release, found when this server has not started it itself. */
export interface Adoption {
  /** The rollout of the live release that is there whole; null = there is none, it has to be made. */
  readonly rolloutId: string | null;
  /** Rollouts that are to go. */
  readonly others: readonly string[];
}

/**
 * Which rollout to go on with: of those of this release that have all its processes, the one that gets the traffic,
 * else the one that got it, else the newest.
 *
 * @param selected - The rollout that the tool's Service selects; null = none.
 */
export function adoption(
  deployments: readonly V1Deployment[],
  release: Release,
  selected: string | null,
): Adoption {
  const wanted = stayingUp(release).map(({ type }) => labelValue(type));
  const rollouts = Map.groupBy(deployments, ({ metadata }) => metadata?.labels?.[LABELS.rollout] ?? '');
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

function rankOf(id: string, parts: readonly V1Deployment[], selected: string | null): number {
  if (id === selected) return 2;
  return parts.some(({ metadata }) => metadata?.annotations?.[LIVE] === 'true') ? 1 : 0;
}

function madeAt(parts: readonly V1Deployment[]): number {
  return Math.max(...parts.map(({ metadata }) => new Date(metadata?.creationTimestamp ?? 0).getTime()));
}
