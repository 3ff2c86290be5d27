import type { Process, ProcessSize, Release, Replicas, Schedule, Sizes } from './types.ts';

/** The process type that runs once, before a release gets any requests. */
export const RELEASE_TYPE = 'release';

/** The process type in the names of all one-off commands, such as `run.1`, even if the command names another type. */
export const ONE_OFF_TYPE = 'run';

/** The process of type `release`, which runs once before the release gets any requests. Undefined if there is none. */
export function releaseProcess({ artifact }: Pick<Release, 'artifact'>): Process | undefined {
  return artifact.processes.find(({ type }) => type === RELEASE_TYPE);
}

/**
 * The type of the test process if app.json gives the test as a command line. If another process has this type already,
 * the test process gets another type.
 */
export const TEST_TYPE = 'test';

/**
 * The process of a release that runs the test command of app.json. Its type is not always `TEST_TYPE`: the command can
 * be the name of another process type. Undefined if app.json has no test command.
 */
export function testProcess({ artifact }: Pick<Release, 'artifact'>): Process | undefined {
  return artifact.processes.find(({ isTest }) => isTest === true);
}

/** The commands that run to their end before a rollout, in this order. */
export type PhaseStep = 'test' | 'release';

/** The process of a release that runs in this step. Undefined if the release has no such process. */
export function phaseProcess(release: Pick<Release, 'artifact'>, step: PhaseStep): Process | undefined {
  return step === 'test' ? testProcess(release) : releaseProcess(release);
}

/** The processes of a release of which `scale` can keep any number running: all except `release` and scheduled ones. */
export function scalable({ artifact }: Pick<Release, 'artifact'>): readonly Process[] {
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
 * How many processes of each type run: the number that `asked` gives, or else the number that the release gives. A
 * release gives 0 for a named command, which does not start by itself.
 *
 * @param asked - The numbers that `scale` has set. Types that the release does not have are ignored.
 * @param most - The most processes of one type, at least 1.
 * @returns an entry for each type that `scale` accepts, in the order of the release.
 */
export function replicasOf(
  release: Pick<Release, 'artifact'>,
  asked: Replicas,
  most = Number.POSITIVE_INFINITY,
): Replicas {
  const counts = scalable(release).map((process) => {
    const count = countOf(asked, process.type) ?? replicasByDefault(release, process);
    return [process.type, Math.min(count, most)] as const;
  });
  return Object.fromEntries(counts);
}

function replicasByDefault({ artifact }: Pick<Release, 'artifact'>, { type, replicas }: Process): number {
  return replicas ?? (type === 'web' ? (artifact.service.replicas ?? 1) : 1);
}

/**
 * The named commands of a release: processes that do not start by themselves, but by `run`, by `scale` or as the test.
 */
export function namedCommands(release: Pick<Release, 'artifact'>): readonly Process[] {
  return scalable(release).filter(({ replicas }) => replicas === 0);
}

/**
 * Earlier versions of this server started every process type, and made releases without `replicas` in their processes.
 * If a release of this kind is live, the types that it runs must also run in the next release.
 *
 * @returns 1 for each type that `live` runs by itself and that is a named command in `next`.
 */
export function replicasKept(
  live: Pick<Release, 'artifact'> | null,
  next: Pick<Release, 'artifact'>,
): Replicas {
  if (live === null) return {};
  const started = scalable(live).filter(({ type, replicas }) => type !== 'web' && replicas === undefined);
  const types = new Set(started.map(({ type }) => type));
  const kept = namedCommands(next).filter(({ type }) => types.has(type));
  return Object.fromEntries(kept.map(({ type }) => [type, 1]));
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

/** Writes the numbers of processes as `web=2 worker=1`, and with new sizes as `web=2:512Mi:0.5 worker=1:default`. */
export function replicasLine(replicas: Replicas, sizes: Sizes = {}): string {
  return Object.entries(replicas)
    .map(
      ([type, count]) => `${type}=${count}${sizeText(Object.hasOwn(sizes, type) ? sizes[type] : undefined)}`,
    )
    .join(' ');
}

function sizeText(size: ProcessSize | undefined): string {
  if (size === undefined) return '';
  const { memoryBytes, cpuCores } = size;
  if (memoryBytes === undefined && cpuCores === undefined) return ':default';
  const memory = memoryBytes === undefined ? '' : `${memoryBytes / 2 ** 20}Mi`;
  return cpuCores === undefined ? `:${memory}` : `:${memory}:${cpuCores}`;
}
