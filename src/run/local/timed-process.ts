import { setTimeout as wait } from 'node:timers/promises';
import type { ScheduledProcess } from '../../core/replicas.ts';
import { nextRun } from '../../core/schedule.ts';
import type { Schedule } from '../../core/types.ts';
import type { Exit } from '../../sandbox/sandbox.ts';
import { commandLine } from '../command-line.ts';
import { exitWords } from '../exit-words.ts';
import type { ProcessStatus, ScheduledRun } from '../runtime.ts';
import { moment, runLimit, took, tooLong } from '../schedule-words.ts';
import type { ScheduledRuns } from '../scheduled-runs.ts';
import { memoryLimit } from '../service-limits.ts';
import { type Running, type RunParts, type Start, startRun } from './running.ts';
import { type Clock, keepTimetable } from './timetable.ts';
import type { Pauses } from './tool-process.ts';

export interface TimedProcessParts extends RunParts {
  readonly pauses: Pauses;
  readonly clock: Clock;
  /** Shared by all releases: what a release before has started may still run. */
  readonly runs: ScheduledRuns;
}

export type TimedStart = Start & { readonly process: ScheduledProcess };

/** How a run went: its exit, or null where it was ended for taking too long. */
type End = { readonly exit: Exit | null; readonly words: string };

/**
 * One scheduled process of a release, `update.1`: started when it is due, one run at a time, and left to run to its
 * end.
 */
export class TimedProcess {
  readonly #start: TimedStart;
  readonly #parts: TimedProcessParts;
  readonly #leaving = new AbortController();
  readonly #ending = new AbortController();
  #timetable: Promise<void> = Promise.resolve();
  #run: Promise<void> | null = null;
  #running: Running | null = null;
  #refusal: string | null = null;

  constructor(start: TimedStart, parts: TimedProcessParts) {
    this.#start = start;
    this.#parts = parts;
  }

  get name(): string {
    return this.#start.name;
  }

  get schedule(): Schedule {
    return this.#start.process.schedule;
  }

  get isRunning(): boolean {
    return this.#run !== null;
  }

  get status(): ProcessStatus {
    const { release, process } = this.#start;
    const { cron, text } = process.schedule;
    const { clock, runs } = this.#parts;
    const lastRun = runs.last(release.tool, process.type);
    const isLeaving = this.#leaving.signal.aborted;
    const state = this.isRunning ? (isLeaving ? 'stopping' : 'up') : 'scheduled';
    return {
      name: this.name,
      version: release.version,
      state: this.#refusal === null ? state : 'crashed',
      command: commandLine(process),
      startedAt: lastRun?.startedAt ?? 0,
      restarts: 0,
      detail: this.#refusal ?? lastRun?.detail ?? null,
      schedule: { text, cron, nextAt: isLeaving ? null : nextRun(cron, clock.now()), lastRun },
    };
  }

  /** From now on it runs whenever it is due, until it is to leave. */
  keepUp(): void {
    const { clock, log } = this.#parts;
    const timetable = {
      cron: this.#start.process.schedule.cron,
      clock,
      onDue: (at: number) => this.#begin(at),
      onMissed: (at: number) =>
        void this.#say(
          `${this.name} was not started at ${moment(at)}: the machine slept then, or its clock was set`,
        ),
    };
    this.#timetable = keepTimetable(timetable, this.#leaving.signal).catch((error: unknown) => {
      log.error({ err: error, process: this.name }, 'schedule not kept');
    });
  }

  /** It is never started, and its status says why. */
  refuse(detail: string): void {
    this.#leaving.abort();
    this.#refusal = detail;
  }

  /** No more runs; one that is under way goes on. */
  retire(): void {
    this.#leaving.abort();
  }

  /** Resolves when its run has ended by itself; where the signal fires, when it was ended as `stop` does. */
  async finish(hurry: AbortSignal): Promise<void> {
    this.retire();
    await this.#timetable;
    const stop = (): void => this.#terminate();
    if (hurry.aborted) stop();
    else hurry.addEventListener('abort', stop, { once: true });
    await this.#run;
    hurry.removeEventListener('abort', stop);
  }

  #terminate(): void {
    this.#ending.abort();
    if (this.#running !== null) this.#endRun(this.#running);
  }

  /** SIGTERM, and SIGKILL after the grace time. */
  #endRun({ process, finished }: Running): void {
    process.terminate();
    const grace = setTimeout(() => {
      void this.#say(`${this.name} did not end within the grace time and was killed`);
      process.kill();
    }, this.#parts.config.grace_time);
    void finished.finally(() => clearTimeout(grace));
  }

  #begin(dueAt: number): void {
    const { release, process } = this.#start;
    const { runs, log } = this.#parts;
    const last = runs.last(release.tool, process.type);
    if (last !== null && last.endedAt === null) {
      void this.#say(
        `${this.name} was not started at ${moment(dueAt)}: its run of ${moment(last.startedAt)} is still under way`,
      );
      return;
    }
    const startedAt = this.#parts.clock.now();
    this.#record({ startedAt, endedAt: null, exitCode: null, detail: null });
    this.#run = this.#runOnce()
      .catch(async (error: unknown) => {
        log.error({ err: error, process: this.name }, 'scheduled process not started');
        await this.#say(`${this.name} could not be started`);
        return { exit: null, words: 'could not be started' };
      })
      .then(({ exit, words }) => {
        this.#run = null;
        this.#record({
          startedAt,
          endedAt: this.#parts.clock.now(),
          exitCode: exit?.code ?? null,
          detail: words,
        });
      });
  }

  /** With as many further attempts as its schedule has. */
  async #runOnce(): Promise<End> {
    const { schedule } = this.#start.process;
    const { pauses, config } = this.#parts;
    const startedAt = performance.now();
    const limitMs = runLimit(schedule, config.schedule_time);
    const limit = AbortSignal.timeout(limitMs);
    let pauseMs = pauses.firstMs;
    for (let retry = 1; ; retry += 1) {
      const end = await this.#attempt(limit, limitMs);
      const hasFailed = end.exit !== null && end.exit.code !== 0;
      const after = `${this.name} ${end.words} after ${took(performance.now() - startedAt)}`;
      if (!hasFailed || retry > schedule.retry || this.#ending.signal.aborted || limit.aborted) {
        await this.#say(after);
        return end;
      }
      await this.#say(`${after}; starting again in ${pauseMs / 1000} s (${retry} of ${schedule.retry})`);
      // The rejection is one of the signals, which the next attempt asks for.
      await wait(pauseMs, null, { signal: AbortSignal.any([limit, this.#ending.signal]) }).catch(() => {});
      if (this.#ending.signal.aborted || limit.aborted) return end;
      pauseMs = Math.min(pauseMs * 2, pauses.mostMs);
    }
  }

  async #attempt(limit: AbortSignal, limitMs: number): Promise<End> {
    const { release, process } = this.#start;
    const running = await startRun(this.#start, this.#parts);
    this.#running = running;
    // It may have been told to end while it was started.
    if (this.#ending.signal.aborted) this.#endRun(running);
    const stop = (): void => this.#endRun(running);
    if (limit.aborted) stop();
    else limit.addEventListener('abort', stop, { once: true });
    const exit = await running.finished;
    limit.removeEventListener('abort', stop);
    this.#running = null;
    if (limit.aborted) return { exit: null, words: tooLong(limitMs, process.schedule) };
    return {
      exit,
      words: exitWords(exit, memoryLimit(release, process.type, this.#parts.config.run_memory)),
    };
  }

  #record(run: ScheduledRun): void {
    const { release, process } = this.#start;
    this.#parts.runs.set(release.tool, process.type, run);
  }

  #say(text: string): Promise<void> {
    return this.#start.toolLog.append('push', [text]);
  }
}
