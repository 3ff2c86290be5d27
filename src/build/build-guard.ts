import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import type { Progress } from '../core/progress.ts';
import { diskUse } from '../sandbox/disk-use.ts';
import { duration, outOfDisk, timedOut, tooMuchOutput } from './build-failures.ts';
import { largestFolders } from './largest-folders.ts';

export interface GuardOptions {
  readonly limits: Pick<Config, 'build_time' | 'build_disk' | 'build_output'>;
  /** What is weighed against the disk limit. */
  readonly folder: string;
  readonly progress: Progress;
  /** Of whoever may cancel the build. */
  readonly signal: AbortSignal;
  /** After this long without output, the person is told that it goes on. */
  readonly quietMs: number;
  /** How much of its time the build has had already, where it is taken up; 0 where not set. */
  readonly spentMs?: number;
}

/**
 * Watches one build: its time, disk and output. The first limit that is passed aborts `signal` with a
 * DeployError that names it. Dispose of it when the build has ended.
 */
export class BuildGuard implements AsyncDisposable {
  readonly signal: AbortSignal;
  readonly #options: GuardOptions;
  readonly #limit = new AbortController();
  readonly #ended = new AbortController();
  readonly #startedAt: number;
  readonly #timers: NodeJS.Timeout[];
  readonly #watching: Promise<void>;
  #heardAt = performance.now();
  #step = 'detection';
  #stepAt = performance.now();
  #outputBytes = 0;

  constructor(options: GuardOptions) {
    this.#options = options;
    const spentMs = options.spentMs ?? 0;
    this.#startedAt = performance.now() - spentMs;
    this.signal = AbortSignal.any([options.signal, this.#limit.signal]);
    this.#timers = [
      setTimeout(
        () => this.#limit.abort(timedOut(options.limits.build_time, this.#step)),
        options.limits.build_time - spentMs,
      ),
      setInterval(() => this.#speak(), Math.max(10, options.quietMs / 6)),
    ];
    this.#watching = this.#watchDisk();
  }

  /** From here on it is this step that runs. */
  enter(step: string): void {
    this.#step = step;
    this.#stepAt = performance.now();
    this.#heardAt = this.#stepAt;
  }

  /** Output came. */
  hear(bytes: number): void {
    this.#heardAt = performance.now();
    this.#outputBytes += bytes;
    const limit = this.#options.limits.build_output;
    if (this.#outputBytes > limit && !this.#limit.signal.aborted) {
      this.#limit.abort(tooMuchOutput(limit, this.#step));
    }
  }

  /** Weighs the folder now. @throws what aborted the build, also where that is the disk limit just passed. */
  async weigh(): Promise<void> {
    const { folder, limits } = this.#options;
    const bytes = await diskUse(folder, this.#ended.signal);
    if (bytes > limits.build_disk && !this.signal.aborted) {
      // Kept for the moment of the failure: naming folders costs a walk.
      const largest = await largestFolders(folder, this.#ended.signal);
      this.#limit.abort(outOfDisk(limits.build_disk, largest));
    }
    this.signal.throwIfAborted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#ended.abort();
    await this.#watching;
  }

  #speak(): void {
    const now = performance.now();
    if (now - this.#heardAt < this.#options.quietMs || this.signal.aborted) return;
    this.#heardAt = now;
    const left = this.#options.limits.build_time - (now - this.#startedAt);
    this.#options.progress.line(
      `still running: ${this.#step}, ${duration(now - this.#stepAt)}, ${duration(roughly(left))} left`,
    );
  }

  async #watchDisk(): Promise<void> {
    while (!this.#ended.signal.aborted && !this.signal.aborted) {
      const startedAt = performance.now();
      try {
        await this.weigh();
        // A walk over many files costs: at most a tenth of the time goes into it.
        await sleep(Math.max(1000, 9 * (performance.now() - startedAt)), undefined, {
          signal: this.#ended.signal,
        });
      } catch (error) {
        if (this.#ended.signal.aborted || this.signal.aborted) return;
        this.#limit.abort(error);
      }
    }
  }
}

/** Whole minutes where there are some: nobody needs the seconds of 13 minutes. */
function roughly(ms: number): number {
  return ms > 120_000 ? Math.floor(ms / 60_000) * 60_000 : ms;
}
