import { DeployError } from '../core/errors.ts';
import type { Progress } from '../core/progress.ts';
import type { Release } from '../core/types.ts';
import { exitHint, exitWords } from './exit-words.ts';
import type { ProcessStatus } from './runtime.ts';
import { scheduledWords } from './schedule-words.ts';
import { memoryLimit, unfulfilled } from './service-limits.ts';
import { scheduledIn, staysUp } from './stays-up.ts';
import { TimedProcess, type TimedProcessParts } from './timed-process.ts';
import type { ToolLog } from './tool-log.ts';
import { type Attempt, ToolProcess, type ToolProcessParts } from './tool-process.ts';
import { Traffic } from './traffic.ts';

export type GenerationParts = ToolProcessParts & TimedProcessParts;

/** All processes of one release, one of each type, and the requests that they are busy with. */
export class Generation {
  readonly release: Release;
  readonly traffic = new Traffic();
  /** Those that stay up. */
  readonly processes: readonly ToolProcess[];
  readonly #timed: readonly TimedProcess[];
  readonly #parts: GenerationParts;
  #isDown = false;

  constructor(release: Release, toolNumber: number, toolLog: ToolLog, parts: GenerationParts) {
    this.release = release;
    this.#parts = parts;
    this.processes = release.artifact.processes
      .filter(staysUp)
      .map(
        (process) =>
          new ToolProcess({ release, toolNumber, process, name: `${process.type}.1`, toolLog }, parts),
      );
    this.#timed = scheduledIn(release).map(
      (process) =>
        new TimedProcess({ release, toolNumber, process, name: `${process.type}.1`, toolLog }, parts),
    );
  }

  /** Of a release that leaves, only of what still runs. */
  statuses(isLive: boolean): ProcessStatus[] {
    const timed = this.#timed.filter(({ isRunning }) => isLive || isRunning);
    return [...(this.#isDown ? [] : this.processes), ...timed].map(({ status }) => status);
  }

  get web(): ToolProcess | null {
    return this.processes.find((process) => process.type === 'web') ?? null;
  }

  /** Starts every process and waits until all are healthy. Where one is not, none is left. */
  async start(progress: Progress, signal: AbortSignal): Promise<void> {
    const { service } = this.release.artifact;
    for (const text of unfulfilled(service, this.#parts.config.run_memory)) progress.warn(text);
    const failed = new AbortController();
    const whole = AbortSignal.any([signal, failed.signal]);
    const starts = this.processes.map((process) =>
      this.#startOne(process, progress, whole).catch((error: unknown) => {
        // The others end by this, so the first reason is the one that counts.
        failed.abort(error);
        throw error;
      }),
    );
    await Promise.allSettled(starts);
    // One may have ended while another was still starting.
    const ended = this.processes.find((process) => process.end !== null);
    if (ended?.end && !failed.signal.aborted) failed.abort(this.#failure(ended, ended.end, progress));
    if (!failed.signal.aborted) {
      const now = this.#parts.clock.now();
      for (const { name, schedule } of this.#timed) progress.line(scheduledWords(name, schedule, now));
      return;
    }
    await this.kill();
    throw failed.signal.reason;
  }

  /** From now on its processes are kept up, and the others run when they are due; those that do not run are started. */
  keepUp(): void {
    for (const process of this.processes) process.keepUp();
    for (const process of this.#timed) process.keepUp();
  }

  /** None of its processes is ever started; their status says why, as in `web.1 was built without isolation`. */
  async refuse(detail: string): Promise<void> {
    for (const process of this.#timed) process.refuse(detail);
    for (const process of this.processes) await process.refuse(detail);
  }

  /**
   * Ends it: the web process when its requests are done or the signal fires, the others now. What a schedule has
   * started goes on to its end, or until `hurry` fires.
   */
  async drain(signal: AbortSignal, hurry: AbortSignal): Promise<void> {
    const runs = this.#timed.map((process) => process.finish(hurry));
    for (const process of this.processes) process.retire();
    const others = this.processes.filter((process) => process !== this.web).map((process) => process.stop());
    await this.traffic.untilIdle(signal);
    this.traffic.closeSockets();
    await Promise.all([...others, this.web?.stop()]);
    this.#isDown = true;
    await Promise.all(runs);
  }

  async kill(): Promise<void> {
    this.traffic.closeSockets();
    await Promise.all(this.processes.map((process) => process.kill()));
  }

  async #startOne(process: ToolProcess, progress: Progress, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    const attempt = await process.start(signal, ({ soFar }) => progress.line(soFar));
    if (attempt.kind !== 'healthy') throw this.#failure(process, attempt, progress);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    const how = process.type === 'web' ? 'healthy' : 'up';
    const remark = attempt.remark === null ? '' : ` (${attempt.remark})`;
    progress.line(`${process.name} started · ${how} after ${seconds} s${remark}`);
  }

  #failure(
    process: ToolProcess,
    attempt: Exclude<Attempt, { kind: 'healthy' }>,
    progress: Progress,
  ): DeployError {
    for (const line of attempt.lastLines) progress.line(`${process.name} | ${line}`);
    const { run_memory } = this.#parts.config;
    if (attempt.kind === 'exited') {
      const words = exitWords(attempt.exit, memoryLimit(this.release, process.type, run_memory));
      return new DeployError('ROLLOUT_CRASHED', `${process.name} ${words}.`, exitHint(attempt.exit));
    }
    const message = `${attempt.seen.message}; waited ${attempt.waitedMs / 1000} s.`;
    return new DeployError('ROLLOUT_TIMED_OUT', message, attempt.seen.hint);
  }
}
