import { addAbortListener } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { DeployError } from '../../../core/errors.ts';
import type { ScheduledProcess } from '../../../core/replicas.ts';
import { nextRun } from '../../../core/schedule.ts';
import { took } from '../../../core/text/duration.ts';
import type { Schedule } from '../../../core/types.ts';
import type { Exit } from '../../../sandbox/sandbox.ts';
import { commandLine } from '../../command-line.ts';
import type { ProcessStatus, ScheduledRun } from '../../runtime.ts';
import type { ScheduledRuns } from '../../scheduled-runs.ts';
import { memoryLimit } from '../../service-limits.ts';
import { exitWords } from '../../words/exit-words.ts';
import { moment, runLimit, runUnderWay, tooLong } from '../../words/schedule-words.ts';
import { endGracefully, type Running, type RunParts, type Start, startRun } from './running-process.ts';
import { type Clock, keepTimetable } from './timetable.ts';
import type { Pauses } from './tool-process.ts';

export interface TimedProcessParts extends RunParts {
  readonly pauses: Pauses;
  readonly clock: Clock;
  /**
   * The newest run of each scheduled process. All releases share this object, because a run of an earlier release may
   * not have ended.
   */
  readonly runs: ScheduledRuns;
}

export type TimedStart = Start & { readonly process: ScheduledProcess };

/**
 * The most scheduled runs of one tool that may run at the same time. There is a limit because all tools share the
 * memory of the machine.
 */
const MAX_RUNS_AT_ONCE = 20;

/**
 * How a run of a scheduled process ended. `exit` is null if the run took too long, could not be started, or was ended
 * before it started.
 */
type End = { readonly exit: Exit | null; readonly words: string };

/**
 * One scheduled process of a release, such as `update.1`. This class starts a run of the process when its schedule is
 * due (`keepUp`) or when somebody asks for a run (`runNow`). It ends a run that exceeds its time limit.
 */
export class TimedProcess {
  readonly #start: TimedStart;
  readonly #parts: TimedProcessParts;
  readonly #retiring = new AbortController();
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

  get type(): string {
    return this.#start.process.type;
  }

  get isRunning(): boolean {
    return this.#run !== null;
  }

  /** The present run of the process. Null if it does not run now. */
  get running(): Running | null {
    return this.#running;
  }

  get status(): ProcessStatus {
    const { release, process } = this.#start;
    const { cron, text } = process.schedule;
    const { clock, runs } = this.#parts;
    const lastRun = runs.lastRecorded(release.tool, process.type);
    const isRetiring = this.#retiring.signal.aborted;
    const isPaused = runs.isPaused(release.tool, process.type);
    const details = [lastRun?.detail ?? null, isPaused ? 'paused' : null].filter((one) => one !== null);
    const state = this.isRunning ? (isRetiring ? 'stopping' : 'up') : 'scheduled';
    return {
      name: this.name,
      version: release.version,
      state: this.#refusal === null ? state : 'crashed',
      command: commandLine(process),
      startedAt: lastRun?.startedAt ?? 0,
      restarts: 0,
      detail: this.#refusal ?? (details.join('; ') || null),
      schedule: { text, cron, nextAt: isRetiring || isPaused ? null : nextRun(cron, clock.now()), lastRun },
    };
  }

  /**
   * Starts a run when the schedule is due and not paused, until `retire` is called. Skips a run, and says so in the
   * tool's log, if the last run of the process has not ended, or if `scheduled_processes` or `MAX_RUNS_AT_ONCE` allows
   * the tool no further run now.
   */
  keepUp(): void {
    const { clock, log } = this.#parts;
    const timetable = {
      cron: this.#start.process.schedule.cron,
      clock,
      onDue: (at: number) => this.#whenDue(at),
      onMissed: (at: number) =>
        void this.#say(
          `${this.name} was not started at ${moment(at)}: the machine slept then, or its clock was changed`,
        ),
    };
    this.#timetable = keepTimetable(timetable, this.#retiring.signal).catch((error: unknown) => {
      log.error(
        { err: error, process: this.name },
        'the schedule of a process has stopped because of a fault',
      );
    });
  }

  /** Makes sure that no run starts. The status of the process gives `detail` as the reason. */
  refuse(detail: string): void {
    this.#retiring.abort();
    this.#refusal = detail;
  }

  /** Makes sure that no more runs start. A current run continues. */
  retire(): void {
    this.#retiring.abort();
  }

  /** Starts no more runs, and waits until the current run has ended. If `hurry` fires, ends the run. */
  async finish(hurry: AbortSignal): Promise<void> {
    this.retire();
    await this.#timetable;
    using _hurrying = addAbortListener(hurry, () => this.#terminate());
    await this.#run;
  }

  #terminate(): void {
    this.#ending.abort();
    if (this.#running !== null) void endGracefully(this.#start, this.#running, this.#parts);
  }

  /**
   * Starts a run now, whatever the schedule says.
   *
   * @throws DeployError `NO_SCHEDULE` if `refuse` was called; `RUN_UNDER_WAY` if its last run has not ended, or if
   * `scheduled_processes` or `MAX_RUNS_AT_ONCE` allows the tool no further run now.
   */
  runNow(): void {
    if (this.#refusal !== null) {
      throw new DeployError(
        'NO_SCHEDULE',
        `${this.name} does not run: ${this.#refusal}`,
        'Deploy the tool again.',
      );
    }
    const why = this.#whyNot();
    if (why !== null) throw runUnderWay(this.name, why);
    this.#begin();
  }

  #whenDue(dueAt: number): void {
    if (this.#parts.runs.isPaused(this.#start.release.tool, this.type)) return;
    const why = this.#whyNot();
    if (why === null) this.#begin();
    else void this.#say(`${this.name} was not started at ${moment(dueAt)}: ${why}`);
  }

  /** Says why no run of this scheduled process may start now. Null if a run may start. */
  #whyNot(): string | null {
    const { release, process } = this.#start;
    const { runs, config } = this.#parts;
    const last = runs.last(release.tool, process.type);
    if (last !== null && last.endedAt === null) return `its run of ${moment(last.startedAt)} has not ended`;
    // Count the runs of all releases: otherwise, if a tool renamed its scheduled processes with each push, their runs
    // would pile up.
    const underWay = runs.underWay(release.tool);
    if (underWay < Math.min(config.scheduled_processes, MAX_RUNS_AT_ONCE)) return null;
    return `${underWay} scheduled runs of ${release.tool} have not ended, and no more are allowed`;
  }

  #begin(): void {
    const { log } = this.#parts;
    const startedAt = this.#parts.clock.now();
    this.#record({ startedAt, endedAt: null, exitCode: null, detail: null });
    this.#run = this.#runOnce()
      .catch(async (error: unknown) => {
        log.error({ err: error, process: this.name }, 'cannot start a scheduled process');
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

  /**
   * Runs the process to its end. If it fails, runs it again, at most as often as the schedule says, and only within the
   * time limit of the run.
   */
  async #runOnce(): Promise<End> {
    const { schedule } = this.#start.process;
    const { pauses, config } = this.#parts;
    let running = await this.#started();
    if (running === null) return { exit: null, words: 'was ended before it started' };
    const startedAt = performance.now();
    const limitMs = runLimit(schedule, config.schedule_time);
    const limit = AbortSignal.timeout(limitMs);
    let pauseMs = pauses.firstMs;
    for (let retry = 1; ; retry += 1) {
      const end = await this.#ended(running, limit, limitMs);
      const hasFailed = end.exit !== null && end.exit.code !== 0;
      const after = `${this.name} ${end.words} after ${took(performance.now() - startedAt)}`;
      if (!hasFailed || retry > schedule.retry || this.#ending.signal.aborted || limit.aborted) {
        await this.#say(after);
        return end;
      }
      await this.#say(`${after}; starting again in ${pauseMs / 1000} s (${retry} of ${schedule.retry})`);
      // The wait rejects when a signal fires, and the next line checks the signals.
      await wait(pauseMs, null, { signal: AbortSignal.any([limit, this.#ending.signal]) }).catch(() => {});
      if (this.#ending.signal.aborted || limit.aborted) return end;
      pauseMs = Math.min(pauseMs * 2, pauses.mostMs);
      running = await this.#started();
      if (running === null) return end;
    }
  }

  /**
   * Starts the process when it is the turn of the tool. Returns null if, before this turn came, the end of the run was
   * requested.
   */
  async #started(): Promise<Running | null> {
    const start = async () => (this.#ending.signal.aborted ? null : await startRun(this.#start, this.#parts));
    return await this.#parts.runTurns.run(this.#start.release.tool, start);
  }

  async #ended(running: Running, limit: AbortSignal, limitMs: number): Promise<End> {
    const { release, process } = this.#start;
    this.#running = running;
    // If the end of the run was requested while the process was starting, end the process now.
    if (this.#ending.signal.aborted) void endGracefully(this.#start, running, this.#parts);
    using _limiting = addAbortListener(limit, () => void endGracefully(this.#start, running, this.#parts));
    const exit = await running.finished;
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
    const { toolLog, release } = this.#start;
    return toolLog.append('push', [text], release.version);
  }
}
