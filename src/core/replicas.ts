import type { Process, Release, Replicas } from './types.ts';

/** The process type that runs once, before a release gets any traffic. */
export const RELEASE_TYPE = 'release';

/** The processes of a release that are kept running. */
export function stayingUp({ artifact }: Pick<Release, 'artifact'>): readonly Process[] {
  return artifact.processes.filter(({ type }) => type !== RELEASE_TYPE);
}

/**
 * How many processes of each type of a release run: as many as were asked for; else, of `web`, as many as
 * service.template says, and one of the others.
 *
 * @param asked - What it says of types that the release does not have counts for nothing.
 * @param most - Of one type, 1 and up.
 * @returns An entry for each type that is kept running, in the order of the Procfile.
 */
export function replicasOf(
  release: Pick<Release, 'artifact'>,
  asked: Replicas,
  most = Number.POSITIVE_INFINITY,
): Replicas {
  const { service } = release.artifact;
  const counts = stayingUp(release).map(({ type }) => {
    const byDefault = type === 'web' ? (service.replicas ?? 1) : 1;
    return [type, Math.min(countOf(asked, type) ?? byDefault, most)] as const;
  });
  return Object.fromEntries(counts);
}

/** Undefined where nothing is said of the type, whatever its name: `constructor` is one. */
export function countOf(replicas: Replicas, type: string): number | undefined {
  return Object.hasOwn(replicas, type) ? replicas[type] : undefined;
}

/** `web=2 worker=1` */
export function replicasLine(replicas: Replicas): string {
  return Object.entries(replicas)
    .map(([type, count]) => `${type}=${count}`)
    .join(' ');
}
