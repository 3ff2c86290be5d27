import { allOrFirstError } from '../../core/concurrency/all-or-first-error.ts';
import type { DeployError } from '../../core/errors.ts';
import type { Progress } from '../../core/progress.ts';
import { countOf, freeNames, replicasOf, scalable, scheduledIn } from '../../core/replicas.ts';
import type { Release, Replicas } from '../../core/types.ts';
import type { ToolLog } from '../logs/tool-log.ts';
import type { ProcessStatus } from '../runtime.ts';
import { crashed, notHealthy, outputOf, startedWords } from '../words/rollout-words.ts';
import { scheduledWords } from '../words/schedule-words.ts';
import type { Running } from './processes/running-process.ts';
import { TimedProcess, type TimedProcessParts } from './processes/timed-process.ts';
import { type Attempt, ToolProcess, type ToolProcessParts } from './processes/tool-process.ts';
import type { Route } from './router/router.ts';

export type LocalRolloutParts = ToolProcessParts & TimedProcessParts;

export interface LocalRolloutOptions {
  readonly release: Release;
  readonly toolNumber: number;
  readonly toolLog: ToolLog;
  readonly parts: LocalRolloutParts;
}

/** A set of processes of one release: the live processes, or processes that are starting or draining. */
export class LocalRollout {
  readonly release: Release;
  readonly #options: LocalRolloutOptions;
  /** The processes that run all the time. The field `#timed` has the scheduled processes. */
  #processes: ToolProcess[];
  readonly #timed: readonly TimedProcess[];
  /**
   * An index among the web processes. Each request moves it to the next web process, which then gets this request if
   * all are equally busy.
   */
  #turn = 0;
  #isDown = false;

  private constructor(
    options: LocalRolloutOptions,
    processes: ToolProcess[],
    timed: readonly TimedProcess[] = [],
  ) {
    this.release = options.release;
    this.#options = options;
    this.#processes = processes;
    this.#timed = timed;
  }

  /** Creates all processes of a release without starting them. */
  static of(options: LocalRolloutOptions, replicas: Replicas): LocalRollout {
    const { release, toolNumber, toolLog, parts } = options;
    const timed = scheduledIn(release).map(
      (process) =>
        new TimedProcess({ release, toolNumber, process, name: `${process.type}.1`, toolLog }, parts),
    );
    const all = new LocalRollout(options, [], timed);
    all.join(all.missing(replicas));
    return all;
  }

  /**
   * Returns the status of each process, but not of processes that `drain` has ended. If the release is not live, leaves
   * out scheduled processes that do not run.
   */
  statuses(isLive: boolean): ProcessStatus[] {
    const timed = this.#timed.filter(({ isRunning }) => isLive || isRunning);
    return [...(this.#isDown ? [] : this.#processes), ...timed].map(({ status }) => status);
  }

  /**
   * Returns where the next request goes: to the web process with the fewest open requests. If no web process can
   * answer, returns the reason.
   */
  get route(): Route {
    if (!this.release.artifact.processes.some(({ type }) => type === 'web')) return { kind: 'no-web' };
    const webs = this.#processes.filter(({ type }) => type === 'web');
    const [first] = webs;
    if (first === undefined) return { kind: 'scaled-down' };
    this.#turn = (this.#turn + 1) % webs.length;
    const inTurn = [...webs.slice(this.#turn), ...webs.slice(0, this.#turn)];
    const routes = inTurn.flatMap(({ port, traffic, fate }) =>
      port === null ? [] : [{ kind: 'up' as const, port, traffic, fate }],
    );
    const [route] = routes.sort((one, other) => one.traffic.requests - other.traffic.requests);
    if (route !== undefined) return route;
    const hasCrashed = webs.every(({ status }) => status.state === 'crashed');
    return hasCrashed
      ? { kind: 'crashed', detail: `${first.name} ${first.status.detail}` }
      : { kind: 'starting' };
  }

  /** Creates the processes that are missing to reach the numbers in `replicas`. Does not start them. */
  missing(replicas: Replicas): LocalRollout {
    const { release, toolNumber, toolLog, parts } = this.#options;
    const counts = replicasOf(release, replicas);
    const processes = scalable(release).flatMap((process) => {
      const { type } = process;
      const taken = new Set(this.#processes.flatMap((one) => (one.type === type ? [one.name] : [])));
      const names = freeNames(type, taken, Math.max(0, (countOf(counts, type) ?? 0) - taken.size));
      return names.map((name) => new ToolProcess({ release, toolNumber, process, name, toolLog }, parts));
    });
    return new LocalRollout(this.#options, processes);
  }

  /** Adds the processes of `others`, which `missing` has created, to this rollout. */
  join(others: LocalRollout): void {
    const types = scalable(this.release).map(({ type }) => type);
    this.#processes = [...this.#processes, ...others.#processes].sort(
      (one, other) => types.indexOf(one.type) - types.indexOf(other.type) || numberOf(one) - numberOf(other),
    );
  }

  /**
   * For each process of a type, creates a new process that is to replace it. Does not start the new processes.
   *
   * @returns the new processes, and the old processes that they replace.
   */
  renewal(type: string): { readonly fresh: LocalRollout; readonly old: readonly ToolProcess[] } {
    const old = this.#processes.filter((process) => process.type === type);
    return { fresh: this.missing({ ...this.#counts(), [type]: 2 * old.length }), old };
  }

  /** Removes the processes `old` from this rollout. @returns the removed processes, which still run. */
  without(old: readonly ToolProcess[]): LocalRollout {
    this.#processes = this.#processes.filter((process) => !old.includes(process));
    return new LocalRollout(this.#options, [...old]);
  }

  #counts(): Replicas {
    const types = scalable(this.release).map(({ type }) => type);
    return Object.fromEntries(
      types.map((type) => [type, this.#processes.filter((process) => process.type === type).length]),
    );
  }

  /**
   * Removes from this rollout the processes that exceed the numbers in `replicas`. Of each type, those with the highest
   * numbers (such as 3 in `web.3`) go first.
   *
   * @returns the removed processes, which still run.
   */
  shrinkTo(replicas: Replicas): LocalRollout {
    const counts = replicasOf(this.release, replicas);
    const all = this.#processes;
    const kept = Object.entries(counts).flatMap(([type, count]) =>
      all.filter((process) => process.type === type).slice(0, count),
    );
    this.#processes = kept;
    return new LocalRollout(
      this.#options,
      all.filter((process) => !kept.includes(process)),
    );
  }

  /**
   * Starts all processes except the scheduled ones, and waits until all of them are healthy. If one of them fails or
   * the signal fires, kills them all and throws the reason.
   */
  async start(progress: Progress, signal: AbortSignal): Promise<void> {
    try {
      await allOrFirstError(this.#processes, signal, (process, whole) =>
        this.#startOne(process, progress, whole),
      );
      // If a healthy process has ended while another process was still starting, the start fails too.
      const ended = this.#processes.find((process) => process.end !== null);
      if (ended?.end) throw await this.#failure(ended, ended.end, progress);
    } catch (error) {
      await this.kill();
      throw error;
    }
    const now = this.#options.parts.clock.now();
    for (const { name, type, schedule } of this.#timed) {
      const isPaused = this.#options.parts.runs.isPaused(this.release.tool, type);
      progress.line(scheduledWords(name, schedule, { now, isPaused }));
    }
  }

  /** Begins to restart processes that end, and to run scheduled processes when they are due. */
  keepUp(): void {
    for (const process of this.#processes) process.keepUp();
    for (const process of this.#timed) process.keepUp();
  }

  /** The present run of the process with this name. Null if there is no such process, or if it does not run now. */
  running(name: string): Running | null {
    return [...this.#processes, ...this.#timed].find((process) => process.name === name)?.running ?? null;
  }

  /** The scheduled process of this type. Null if the release has no scheduled process of this type. */
  timed(type: string): TimedProcess | null {
    return this.#timed.find((process) => process.type === type) ?? null;
  }

  /** Makes sure that no process of the release starts. The status of each process gives `detail` as the reason. */
  async refuse(detail: string): Promise<void> {
    for (const process of this.#timed) process.refuse(detail);
    for (const process of this.#processes) await process.refuse(detail);
  }

  /**
   * Ends all processes. A `web` process ends when its requests are done or `signal` fires. Other processes have no
   * requests, so they end at once. Only a scheduled process that runs now continues, until it ends by itself or `hurry`
   * fires.
   */
  async drain(signal: AbortSignal, hurry: AbortSignal): Promise<void> {
    const runs = this.#timed.map((process) => process.finish(hurry));
    for (const process of this.#processes) process.retire();
    await Promise.all(
      this.#processes.map(async (process) => {
        await process.traffic.untilIdle(signal);
        process.traffic.closeSockets();
        await process.stop();
      }),
    );
    this.#isDown = true;
    await Promise.all(runs);
  }

  async kill(): Promise<void> {
    for (const { traffic } of this.#processes) traffic.closeSockets();
    await Promise.all(this.#processes.map((process) => process.kill()));
  }

  async #startOne(process: ToolProcess, progress: Progress, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    const attempt = await process.start(signal, ({ soFar }) => progress.line(soFar));
    if (attempt.kind !== 'healthy') throw await this.#failure(process, attempt, progress);
    progress.line(startedWords(process, startedAt, attempt.remark));
  }

  async #failure(
    process: ToolProcess,
    attempt: Exclude<Attempt, { kind: 'healthy' }>,
    progress: Progress,
  ): Promise<DeployError> {
    const lastLines = await attempt.lastLines();
    for (const line of lastLines) progress.line(outputOf(process.name, line));
    const { config, sandbox } = this.#options.parts;
    const isFolderReadOnly = sandbox.whyNoChanges !== null;
    if (attempt.kind === 'timed-out')
      return notHealthy(attempt.seen, attempt.waitedMs, lastLines, isFolderReadOnly);
    const { run_memory } = config;
    return crashed(process, {
      release: this.release,
      exit: attempt.exit,
      run_memory,
      lastLines,
      isFolderReadOnly,
    });
  }
}

/** Returns the number of a process: 2 for `web.2`. */
function numberOf({ name }: ToolProcess): number {
  return Number(name.slice(name.lastIndexOf('.') + 1));
}
