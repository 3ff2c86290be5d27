import { DeployError } from '../../core/errors.ts';
import type { Progress } from '../../core/progress.ts';
import { countOf, replicasOf, stayingUp } from '../../core/replicas.ts';
import type { Release, Replicas } from '../../core/types.ts';
import type { DeployContext } from '../deploy-context.ts';

type Limited = Pick<DeployContext, 'store' | 'maxReplicas'>;

/**
 * Returns how many processes of each type a release must run: the numbers that `scale` stored, or the release's own,
 * and at most `maxReplicas`.
 */
export function plannedReplicas({ store, maxReplicas }: Limited, release: Release): Replicas {
  return replicasOf(release, store.replicas(release.tool), maxReplicas);
}

/** Warns about each type that is scaled to more processes than the operator allows. */
export function warnOfTooMany({ store, maxReplicas }: Limited, release: Release, progress: Progress): void {
  for (const [type, count] of Object.entries(replicasOf(release, store.replicas(release.tool)))) {
    if (count > maxReplicas)
      progress.warn(
        `The tool is scaled to ${count} ${type} processes, but this server runs at most ${maxReplicas} of each type (max_replicas).`,
      );
  }
}

/**
 * Checks a request to scale a release.
 *
 * @throws DeployError `NO_PROCESS_TYPE`, `TOO_MANY_PROCESSES`
 */
export function assertScalable(release: Release, changes: Replicas, maxReplicas: number): void {
  const types = stayingUp(release).map(({ type }) => type);
  for (const [type, count] of Object.entries(changes)) {
    if (!types.includes(type)) throw noType(release, type, types);
    if (count > maxReplicas) {
      throw new DeployError(
        'TOO_MANY_PROCESSES',
        `${count} ${type} processes are too many: this server runs at most ${maxReplicas} of each type (max_replicas)`,
        `To run as many as are allowed: \`scale ${release.tool} ${type}=${maxReplicas}\`. Or ask the operator for a higher max_replicas.`,
      );
    }
  }
}

/** Describes how the numbers of processes change: `web 1 → 2, worker 1 → 0`, or `no change`. */
export function replicaChanges(before: Replicas, after: Replicas): string {
  const changes = Object.entries(after).flatMap(([type, count]) => {
    const was = countOf(before, type);
    return was === count ? [] : [`${type} ${was ?? 0} → ${count}`];
  });
  return changes.length === 0 ? 'no change' : changes.join(', ');
}

function noType({ tool, version }: Release, type: string, types: readonly string[]): DeployError {
  const known = types.length === 0 ? 'no process that is kept running' : types.join(', ');
  return new DeployError(
    'NO_PROCESS_TYPE',
    `v${version} of ${tool} has no process type “${type}”. It has ${known}`,
    `To see how many processes of each type run: \`scale ${tool}\``,
  );
}
