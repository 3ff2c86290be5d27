import { DeployError } from '../../core/errors.ts';
import type { Progress } from '../../core/progress.ts';
import { countOf, replicasOf, stayingUp } from '../../core/replicas.ts';
import type { Release, Replicas } from '../../core/types.ts';
import type { DeployContext } from '../deploy-context.ts';

type Limited = Pick<DeployContext, 'store' | 'maxReplicas'>;

/** How many processes of each type a release shall run: as scaled, within the operator's limit. */
export function plannedReplicas({ store, maxReplicas }: Limited, release: Release): Replicas {
  return replicasOf(release, store.replicas(release.tool), maxReplicas);
}

/** Warns about each type that is scaled to more processes than the operator allows. */
export function warnOfTooMany({ store, maxReplicas }: Limited, release: Release, progress: Progress): void {
  for (const [type, count] of Object.entries(replicasOf(release, store.replicas(release.tool)))) {
    if (count > maxReplicas)
      progress.warn(
        `${count} ${type} processes were asked for: at most ${maxReplicas} of a type run here (max_replicas).`,
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
        `${count} ${type} processes are too many: at most ${maxReplicas} of a type run here (max_replicas).`,
        `Ask for no more: \`scale ${release.tool} ${type}=${maxReplicas}\`, or ask the operator for a higher max_replicas.`,
      );
    }
  }
}

/** `web 1 → 2, worker 1 → 0`; `no change` if no number changes. */
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
    `v${version} of ${tool} has no process type “${type}”. It has ${known}.`,
    `See how many of each run: \`scale ${tool}\``,
  );
}
