import { performance } from 'node:perf_hooks';
import type { Config } from '../config.ts';
import { DiskRoom } from '../core/disk/disk-space.ts';
import type { DeployError } from '../core/errors.ts';
import type { Progress } from '../core/progress.ts';
import { duration } from '../core/text/duration.ts';
import { DiskPace, type LookCause } from '../sandbox/disk/disk-pace.ts';
import { type DiskUse, diskUse } from '../sandbox/disk/disk-use.ts';
import { foldersWithQueues, HiddenUse } from '../sandbox/disk/hidden-disk-use.ts';
import { filledTheDisk, outOfDisk, outOfFiles, timedOut, tooMuchOutput } from './build-failures.ts';
import { largestFolders } from './largest-folders.ts';

/** No build may have more than this part of all files that the file system can hold. */
const MAX_ENTRIES_PART = 0.5;

export interface BuildLimitsOptions {
  readonly limits: Pick<Config, 'data' | 'build_time' | 'build_disk' | 'build_files' | 'build_output'>;
  /** The folder of the build. Its bytes and files count against `build_disk` and `build_files`. */
  readonly folder: string;
  readonly progress: Progress;
  /** Fires when somebody cancels the build. */
  readonly signal: AbortSignal;
  /** After this long without output, the person is told that it goes on. */
  readonly quietMs: number;
  /** How much of its time the build has had already, if it is resumed; 0 where not set. */
  readonly spentMs?: number;
}

/**
 * Watches one build: its time, disk and output. The first limit that is passed aborts `signal` with a
 * DeployError that names it. Dispose of it when the build has ended.
 */
export class BuildLimits implements AsyncDisposable {
  readonly signal: AbortSignal;
  readonly #options: BuildLimitsOptions;
  readonly #limit = new AbortController();
  readonly #ended = new AbortController();
  readonly #room: DiskRoom;
  readonly #hidden = new HiddenUse();
  readonly #startedAt: number;
  readonly #timers: NodeJS.Timeout[];
  readonly #watching: Promise<void>;
  #heardAt = performance.now();
  #step = 'detection';
  #stepAt = performance.now();
  #outputBytes = 0;
  #use: DiskUse = { bytes: 0, entries: 0 };
  /** Whether the disk is nearly full, and the build was not seen to fill it. */
  #isPuzzled = false;

  constructor(options: BuildLimitsOptions) {
    this.#options = options;
    this.#room = new DiskRoom(options.limits.data);
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

  /** How much of its time the build has had. */
  get spentMs(): number {
    return performance.now() - this.#startedAt;
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

  /**
   * Weighs the folder now, in which nothing runs any more.
   *
   * @throws what aborted the build, also if that is the disk limit just passed.
   */
  async weigh(): Promise<void> {
    await this.#judge(await diskUse(this.#options.folder, this.#ended.signal));
  }

  /** The same while the build runs, with the files without a name that it holds. */
  async #weighAll(cause: LookCause): Promise<void> {
    const { folder } = this.#options;
    const { bytes, entries } = await diskUse(folder, this.#ended.signal);
    void this.#hidden.look([folder], cause);
    const hidden = this.#hidden.of(folder);
    await this.#judge({ bytes: bytes + hidden.bytes, entries: entries + hidden.entries });
  }

  async #judge(use: DiskUse): Promise<void> {
    this.#use = use;
    const passed = this.signal.aborted ? null : await this.#passed();
    if (passed !== null) this.#limit.abort(passed);
    this.signal.throwIfAborted();
  }

  /** Why it may not go on with what it has on disk; null if it may. */
  async #passed(): Promise<DeployError | null> {
    const { folder, limits } = this.#options;
    const { build_disk } = limits;
    const { entries } = await this.#room.space();
    const files = Math.min(limits.build_files, Math.floor(entries * MAX_ENTRIES_PART));
    // The largest folders are looked for only after a failure, because that takes a walk over all files.
    const largest = (by: 'bytes' | 'entries') => largestFolders(folder, this.#ended.signal, by);
    if (this.#use.bytes > build_disk) return outOfDisk(build_disk, await largest('bytes'));
    if (this.#use.entries > files) return outOfFiles(files, await largest('entries'));
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#ended.abort();
    await this.#watching;
  }

  /** Whether files are on their way through its sockets, where they cannot be weighed. */
  async #hasQueue(): Promise<boolean> {
    return (await foldersWithQueues([this.#options.folder])).size > 0;
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
    // A walk over many files costs: at most a tenth of the time goes into it while the disk does not fill.
    const pace = new DiskPace({ room: this.#room, pauseMs: 1000, rest: 9 });
    let why: LookCause = 'pause';
    while (!this.#ended.signal.aborted && !this.signal.aborted) {
      const startedAt = performance.now();
      try {
        const before = this.#use;
        await this.#weighAll(why);
        const { low, cause } = await pace.next(performance.now() - startedAt, this.#ended.signal);
        why = cause;
        const isFull = low !== null;
        if (isFull && (isFilling(before, this.#use) || (this.#isPuzzled && (await this.#hasQueue()))))
          this.#limit.abort(filledTheDisk());
        this.#isPuzzled = isFull;
      } catch (error) {
        if (this.#ended.signal.aborted || this.signal.aborted) return;
        this.#limit.abort(error);
      }
    }
  }
}

/** Whole minutes from one minute on, because nobody needs the seconds of 13 minutes. */
function roughly(ms: number): number {
  return ms > 120_000 ? Math.floor(ms / 60_000) * 60_000 : ms;
}

/** Whether so much came between two looks that it is what fills the disk at this moment. */
function isFilling(before: DiskUse, now: DiskUse): boolean {
  return now.entries - before.entries > 500 || now.bytes - before.bytes > 8 * 1024 * 1024;
}
