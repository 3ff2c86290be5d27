import { setTimeout as wait } from 'node:timers/promises';
import { commandLine } from '../command-line.ts';
import { exitWords } from '../exit-words.ts';
import { type Readiness, type Seen, untilHealthy, untilSettled } from '../health.ts';
import type { ProcessState, ProcessStatus } from '../runtime.ts';
import { memoryLimit } from '../service-limits.ts';
import { isFree } from './ports.ts';
import { type Running, type RunParts, type Start, startRun } from './running.ts';
import { Traffic } from './traffic.ts';

export interface Pauses {
  /** Before the first restart; doubled at each further one. */
  readonly firstMs: number;
  readonly mostMs: number;
  /** A process that was up for so long starts over with the first pause. */
  readonly forgottenAfterMs: number;
}

export const PAUSES: Pauses = { firstMs: 1000, mostMs: 60_000, forgottenAfterMs: 60_000 };

export interface ToolProcessParts extends RunParts {
  readonly pauses: Pauses;
  /** The Host header of health checks. */
  readonly host: string;
}

/** How one attempt to start went, with the last lines that the process printed. */
export type Attempt = Readiness & Pick<Running, 'lastLines'>;
/** What has become of a run: `crashed` is one that ended by itself. */
export type Fate = 'up' | 'crashed' | 'leaving';
export type Ended = Extract<Attempt, { kind: 'exited' }>;

const MOST_PORTS = 3;

/** One process of a release, `web.1`: started, checked, kept up and ended. */
export class ToolProcess {
  /** What it is busy with; only `web` gets requests. */
  readonly traffic = new Traffic();
  readonly #start: Start;
  readonly #parts: ToolProcessParts;
  readonly #leaving = new AbortController();
  #state: ProcessState = 'starting';
  #detail: string | null = null;
  #startedAt = Date.now();
  /** By `performance.now()`; null since the newest start, until it is healthy. */
  #upAt: number | null = null;
  #restarts = 0;
  #running: Running | null = null;
  #end: Ended | null = null;
  #keeping: Promise<void> = Promise.resolve();
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
    };
  }

  /** Where requests go; null while there is nobody to answer. A process that is drained still answers. */
  get port(): number | null {
    const isAnswering = this.#state === 'up' || this.#state === 'stopping';
    return isAnswering ? (this.#running?.port?.outside ?? null) : null;
  }

  /** What becomes of the run that is on now. */
  get fate(): () => Fate {
    const running = this.#running;
    return () => {
      if (this.#leaving.signal.aborted) return 'leaving';
      return running !== null && running === this.#running && this.#state === 'up' ? 'up' : 'crashed';
    };
  }

  get #memoryBytes(): number {
    return memoryLimit(this.#start.release, this.type, this.#parts.config.run_memory);
  }

  /** How its newest start ended; null while it runs. */
  get end(): Ended | null {
    return this.#end;
  }

  /** Starts it once and waits until it is healthy. @throws AbortError when the signal fires. */
  start(signal: AbortSignal, onSeen: (seen: Seen) => void): Promise<Attempt> {
    const attempt = this.#attempt(AbortSignal.any([signal, this.#leaving.signal]), onSeen);
    this.#attempting = attempt.catch(() => {});
    return attempt;
  }

  /** From now on it is started again whenever it ends, until it is to leave. */
  keepUp(): void {
    this.#keeping = this.#keepUp().catch((error: unknown) => {
      this.#parts.log.error({ err: error, process: this.name }, 'supervision failed');
    });
  }

  /** It is not started, and its status and the log say why. */
  async refuse(detail: string): Promise<void> {
    this.retire();
    this.#state = 'crashed';
    this.#detail = detail;
    await this.#say(`${this.name} ${detail}`);
  }

  /** No more restarts; it goes on until `stop`. */
  retire(): void {
    this.#leaving.abort();
    if (this.#state === 'up') this.#state = 'stopping';
  }

  /** SIGTERM, and SIGKILL after the grace time. Resolves when it is gone. */
  async stop(): Promise<void> {
    this.retire();
    const running = this.#running;
    if (running !== null) {
      running.process.terminate();
      const grace = setTimeout(() => {
        void this.#say(`${this.name} did not end within the grace time and was killed`);
        running.process.kill();
      }, this.#parts.config.grace_time);
      await running.finished;
      clearTimeout(grace);
    }
    await this.#gone();
  }

  /** Ends it at once. */
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
      this.#startedAt = Date.now();
      this.#upAt = null;
      const running = await startRun(this.#start, this.#parts);
      this.#running = running;
      this.#end = null;
      void running.finished.then((exit) => {
        if (this.#running !== running) return;
        this.#running = null;
        this.#end = { kind: 'exited', exit, lastLines: running.lastLines };
      });
      try {
        const readiness = await this.#untilReady(running, signal, onSeen);
        // Between the choice of a port and its use another program may have taken it.
        const isPortLost =
          readiness.kind === 'exited' && running.port !== null && !(await isFree(running.port.outside));
        if (isPortLost && count < MOST_PORTS) continue;
        if (readiness.kind === 'timed-out') running.process.kill();
        if (readiness.kind === 'healthy') {
          this.#state = this.#leaving.signal.aborted ? 'stopping' : 'up';
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

  #untilReady(running: Running, signal: AbortSignal, onSeen: (seen: Seen) => void): Promise<Readiness> {
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
    while (!this.#leaving.signal.aborted) {
      const why = await this.#untilDown();
      if (this.#leaving.signal.aborted) return;
      const upMs = this.#upAt === null ? 0 : performance.now() - this.#upAt;
      if (upMs > pauses.forgottenAfterMs) pauseMs = pauses.firstMs;
      this.#state = 'crashed';
      const again = `starting again in ${pauseMs / 1000} s`;
      this.#detail = `${why}; ${again}`;
      await this.#say(`${this.name} ${why}; ${again}`);
      // The rejection is the signal to leave, which the loop asks for.
      await wait(pauseMs, null, { signal: this.#leaving.signal }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, pauses.mostMs);
      this.#restarts += 1;
    }
  }

  /** Starts it unless it is up, or was until a moment ago; waits until it is down again, and says why it is. */
  async #untilDown(): Promise<string> {
    const { log } = this.#parts;
    try {
      if (this.#state !== 'up') {
        const attempt = await this.start(this.#leaving.signal, () => {});
        if (attempt.kind === 'exited') return exitWords(attempt.exit, this.#memoryBytes);
        if (attempt.kind === 'timed-out') return `was ended: ${attempt.seen.message}`;
        await this.#say(`${this.name} is up`);
      }
      await this.#running?.finished;
      return this.#end === null ? 'ended' : exitWords(this.#end.exit, this.#memoryBytes);
    } catch (error) {
      if (!this.#leaving.signal.aborted) log.error({ err: error, process: this.name }, 'process not started');
      return 'could not be started';
    }
  }

  async #say(text: string): Promise<void> {
    await this.#start.toolLog.append('push', [text]);
  }
}
