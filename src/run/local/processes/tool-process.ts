import { setTimeout as wait } from 'node:timers/promises';
import { commandLine } from '../../command-line.ts';
import { type Readiness, type Seen, untilHealthy, untilSettled } from '../../health/health-check.ts';
import { untilScriptPasses } from '../../health/script-check.ts';
import type { Crash, LastExit, ProcessState, ProcessStatus } from '../../runtime.ts';
import { memoryLimit } from '../../service-limits.ts';
import { exitWords } from '../../words/exit-words.ts';
import { OpenRequests } from '../router/open-requests.ts';
import { isFree } from './ports.ts';
import { endGracefully, type Running, type RunParts, type Start, startRun } from './running-process.ts';
import type { StartTurns } from './start-turns.ts';

export interface Pauses {
  /**
   * The pause before the first restart. Each further pause is twice as long as the pause before it, but at most
   * `mostMs`.
   */
  readonly firstMs: number;
  readonly mostMs: number;
  /** If a process was up for more than this many milliseconds, the pause before its next restart is `firstMs` again. */
  readonly forgottenAfterMs: number;
}

export const PAUSES: Pauses = { firstMs: 1000, mostMs: 60_000, forgottenAfterMs: 60_000 };

export interface ToolProcessParts extends RunParts {
  readonly rolloutTurns: StartTurns;
  readonly pauses: Pauses;
  /** The Host header that health checks send. */
  readonly host: string;
  /** Called each time a live process ends or cannot be restarted, unless the server has retired it. Must not throw. */
  readonly onCrash: (crash: Crash) => void;
}

/** The result of one attempt to start a process, with the last output of the process. */
export type Attempt = Readiness & Pick<Running, 'lastLines'>;
/**
 * What has happened to a run of a process. `crashed` means that the run has ended, although the server did not retire
 * the process; `leaving` means that the server has retired the process.
 */
export type Fate = 'up' | 'crashed' | 'leaving';
export type Ended = Extract<Attempt, { kind: 'exited' }>;

const MAX_PORTS = 3;

/**
 * One process of a release, such as `web.1`. This class starts the process, checks its health, restarts it and ends it.
 */
export class ToolProcess {
  /** The open requests and WebSockets of the process. Only `web` processes have any. */
  readonly traffic = new OpenRequests();
  readonly #start: Start;
  readonly #parts: ToolProcessParts;
  readonly #retiring = new AbortController();
  #state: ProcessState = 'starting';
  #detail: string | null = null;
  #startedAt = Date.now();
  /** When the process became healthy, as `performance.now()` gives it. Null before that. */
  #upAt: number | null = null;
  #restarts = 0;
  #running: Running | null = null;
  #end: Ended | null = null;
  #lastExit: LastExit | null = null;
  #keeping: Promise<void> = Promise.resolve();
  /** True once `keepUp` has been called: at that moment, the process becomes a part of the live rollout. */
  #isLive = false;
  #attempting: Promise<unknown> = Promise.resolve();

  constructor(start: Start, parts: ToolProcessParts) {
    this.#start = start;
    this.#parts = parts;
  }

  get name(): string {
    return this.#start.name;
  }

  get type(): string {
    return this.#start.process.type;
  }

  get status(): ProcessStatus {
    return {
      name: this.name,
      version: this.#start.release.version,
      state: this.#state,
      command: commandLine(this.#start.process),
      startedAt: this.#startedAt,
      restarts: this.#restarts,
      detail: this.#detail,
      memoryBytes: this.#running?.process.memoryBytes() ?? null,
      lastExit: this.#lastExit,
    };
  }

  /** The port for requests, or null if the process cannot answer. A draining process still answers. */
  get port(): number | null {
    const isAnswering = this.#state === 'up' || this.#state === 'stopping';
    return isAnswering ? (this.#running?.port?.outside ?? null) : null;
  }

  /** Remembers the present run of the process. The returned function tells later what has happened to that run. */
  get fate(): () => Fate {
    const running = this.#running;
    return () => {
      if (this.#retiring.signal.aborted) return 'leaving';
      return running !== null && running === this.#running && this.#state === 'up' ? 'up' : 'crashed';
    };
  }

  get #memoryBytes(): number {
    return memoryLimit(this.#start.release, this.type, this.#parts.config.run_memory);
  }

  /** The present run of the process. Null if it does not run now. */
  get running(): Running | null {
    return this.#running;
  }

  /** How the newest run of the process ended. Null while it runs, and before the first run. */
  get end(): Ended | null {
    return this.#end;
  }

  /**
   * Starts the process and waits until it is healthy, has ended, or has taken too long. If another program has taken
   * the port of the process, starts the process up to two more times, on other ports.
   *
   * @throws AbortError or the signal's reason when the signal fires or `retire` is called; what `startRun` throws.
   */
  start(signal: AbortSignal, onSeen: (seen: Seen) => void): Promise<Attempt> {
    const attempt = this.#attempt(AbortSignal.any([signal, this.#retiring.signal]), onSeen);
    this.#attempting = attempt.catch(() => {});
    return attempt;
  }

  /** Begins to restart the process whenever it ends, until `retire` is called. */
  keepUp(): void {
    this.#isLive = true;
    this.#running?.process.settle();
    this.#keeping = this.#keepUp().catch((error: unknown) => {
      this.#parts.log.error({ err: error, process: this.name }, 'supervision of a process failed');
    });
  }

  /**
   * Makes sure that the process never starts. The status of the process and the tool's log give `detail` as the reason.
   */
  async refuse(detail: string): Promise<void> {
    this.retire();
    this.#state = 'crashed';
    this.#detail = detail;
    await this.#say(`${this.name} ${detail}`);
  }

  /**
   * Makes sure that the process is not started again. If it is still starting, kills it. If it is up, it runs until
   * `stop` or `kill` is called.
   */
  retire(): void {
    this.#retiring.abort();
    if (this.#state === 'up') this.#state = 'stopping';
  }

  /** Ends the process: sends SIGTERM, and SIGKILL after the grace time. Resolves when the process has ended. */
  async stop(): Promise<void> {
    this.retire();
    if (this.#running !== null) await endGracefully(this.#start, this.#running, this.#parts);
    await this.#gone();
  }

  /** Kills the process without a grace time. Resolves when the process has ended. */
  async kill(): Promise<void> {
    this.retire();
    this.#running?.process.kill();
    await this.#gone();
  }

  async #gone(): Promise<void> {
    await this.#attempting;
    await this.#keeping;
    await this.#running?.finished;
  }

  async #attempt(signal: AbortSignal, onSeen: (seen: Seen) => void): Promise<Attempt> {
    for (let count = 1; ; count += 1) {
      signal.throwIfAborted();
      this.#state = 'starting';
      this.#detail = null;
      this.#startedAt = Date.now();
      this.#upAt = null;
      const running = await this.#parts.rolloutTurns.run(this.#start.release.tool, async () => {
        signal.throwIfAborted();
        return await startRun({ ...this.#start, endsFirst: !this.#isLive }, this.#parts);
      });
      this.#running = running;
      this.#end = null;
      void running.finished.then((exit) => {
        if (this.#running !== running) return;
        this.#running = null;
        this.#end = { kind: 'exited', exit, lastLines: running.lastLines };
      });
      try {
        const readiness = await this.#untilReady(running, signal, onSeen);
        // If another program has taken the port before this process could use it, try another port.
        const isPortLost =
          readiness.kind === 'exited' && running.port !== null && !(await isFree(running.port.outside));
        if (isPortLost && count < MAX_PORTS) continue;
        if (readiness.kind === 'timed-out') running.process.kill();
        if (readiness.kind === 'healthy') {
          this.#state = this.#retiring.signal.aborted ? 'stopping' : 'up';
          this.#detail = null;
          this.#upAt = performance.now();
        } else await running.finished;
        return { ...readiness, lastLines: running.lastLines };
      } catch (error) {
        running.process.kill();
        await running.finished;
        throw error;
      }
    }
  }

  async #untilReady(running: Running, signal: AbortSignal, onSeen: (seen: Seen) => void): Promise<Readiness> {
    const readiness = await this.#untilUp(running, signal, onSeen);
    const { process, mark } = running;
    if (readiness.kind !== 'healthy' || mark === null) return readiness;
    const timeoutMs = this.#parts.config.health_time;
    const passed = await untilScriptPasses({ process, name: this.name, mark, timeoutMs, signal });
    return passed.kind === 'healthy' ? readiness : passed;
  }

  #untilUp(running: Running, signal: AbortSignal, onSeen: (seen: Seen) => void): Promise<Readiness> {
    const { config, host } = this.#parts;
    if (running.port === null) return untilSettled(running.process, config.settle_time, signal);
    return untilHealthy({
      process: running.process,
      name: this.name,
      outsidePort: running.port.outside,
      insidePort: running.port.inside,
      path: this.#start.release.artifact.service.healthCheckPath,
      host,
      timeoutMs: config.health_time,
      lastLines: running.lastLines,
      signal,
      onSeen,
    });
  }

  async #keepUp(): Promise<void> {
    const { pauses } = this.#parts;
    let pauseMs = pauses.firstMs;
    while (!this.#retiring.signal.aborted) {
      const why = await this.#untilDown();
      if (this.#retiring.signal.aborted) return;
      const upMs = this.#upAt === null ? 0 : performance.now() - this.#upAt;
      if (upMs > pauses.forgottenAfterMs) pauseMs = pauses.firstMs;
      this.#state = 'crashed';
      const again = `starting again in ${pauseMs / 1000} s`;
      this.#detail = `${why}; ${again}`;
      this.#noteCrash(why);
      await this.#say(`${this.name} ${why}; ${again}`);
      // The wait rejects when `retire` was called, and the loop checks that.
      await wait(pauseMs, null, { signal: this.#retiring.signal }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, pauses.mostMs);
      this.#restarts += 1;
    }
  }

  #noteCrash(words: string): void {
    const { tool, version } = this.#start.release;
    this.#lastExit = { at: Date.now(), words };
    this.#parts.onCrash({ tool, version, process: this.name, ...this.#lastExit });
  }

  /** Starts the process unless it is up, waits until it ends, and returns the reason. */
  async #untilDown(): Promise<string> {
    const { log } = this.#parts;
    try {
      if (this.#state !== 'up') {
        const attempt = await this.start(this.#retiring.signal, () => {});
        if (attempt.kind === 'exited') return exitWords(attempt.exit, this.#memoryBytes);
        if (attempt.kind === 'timed-out') return `was ended: ${attempt.seen.message}`;
        await this.#say(`${this.name} is up`);
      }
      await this.#running?.finished;
      return this.#end === null ? 'ended' : exitWords(this.#end.exit, this.#memoryBytes);
    } catch (error) {
      if (!this.#retiring.signal.aborted)
        log.error({ err: error, process: this.name }, 'cannot start a process');
      return 'could not be started';
    }
  }

  async #say(text: string): Promise<void> {
    const { toolLog, release } = this.#start;
    await toolLog.append('push', [text], release.version);
  }
}
