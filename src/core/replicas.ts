import type { Process, Release, Replicas, Schedule } from './types.ts';

/** The process type that runs once, before a release gets any requests. */
export const RELEASE_TYPE = 'release';

/** The process that runs once before a release gets any requests, if it has one. */
export function releaseProcess({ artifact }: Pick<Release, 'artifact'>): Process | undefined {
  return artifact.processes.find(({ type }) => type === RELEASE_TYPE);
}

/** The processes of a release that run all the time. */
export function stayingUp({ artifact }: Pick<Release, 'artifact'>): readonly Process[] {
  return artifact.processes.filter(({ type, schedule }) => type !== RELEASE_TYPE && schedule === undefined);
}

export interface ScheduledProcess extends Process {
  readonly schedule: Schedule;
}

/** The processes of a release that run on a schedule. */
export function scheduledIn({ artifact }: Pick<Release, 'artifact'>): readonly ScheduledProcess[] {
  return artifact.processes.filter((process): process is ScheduledProcess => process.schedule !== undefined);
}

/**
 * How many processes of each type run: the number that `asked` gives. If `asked` does not have the type, one process,
 * or for `web` as many as service.template or toolforge.yaml says.
 *
 * @param asked - Types that the release does not have are ignored.
 * @param most - The most processes of one type, at least 1.
 * @returns an entry for each type that runs all the time, in the order of the artifact's processes.
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

/** The number of a process type, or undefined if `replicas` does not have it. Safe for types such as `constructor`. */
export function countOf(replicas: Replicas, type: string): number | undefined {
  return Object.hasOwn(replicas, type) ? replicas[type] : undefined;
}

/** The lowest free names of a process type: `web.2`, `web.3`. */
export function freeNames(type: string, taken: ReadonlySet<string>, count: number): string[] {
  return Array.from({ length: count + taken.size }, (_, index) => `${type}.${index + 1}`)
    .filter((name) => !taken.has(name))
    .slice(0, count);
}

/** `web=2 worker=1` */
export function replicasLine(replicas: Replicas): string {
  return Object.entries(replicas)
    .map(([type, count]) => `${type}=${count}`)
    .join(' ');
}
