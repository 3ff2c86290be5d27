import { performance } from 'node:perf_hooks';
import type { Config } from '../config.ts';
import { DiskRoom } from '../core/disk/disk-space.ts';
import type { DeployError } from '../core/errors.ts';
import type { Progress } from '../core/progress.ts';
import { duration } from '../core/text/duration.ts';
import { DiskPace, type LookCause, LowDisk } from '../sandbox/disk/disk-pace.ts';
import { type DiskUse, diskUse, Misses, usesOf } from '../sandbox/disk/disk-use.ts';
import { foldersWithSecrets, HiddenUse, MAX_DESCRIPTORS } from '../sandbox/disk/hidden-disk-use.ts';
import {
  filledTheDisk,
  movedTooMuch,
  outOfDisk,
  outOfFiles,
  timedOut,
  tooManyOpenFiles,
  tooMuchOutput,
} from './build-failures.ts';
import { largestFolders } from './largest-folders.ts';

/** No build may make more than this part of all files that the file system can hold. */
const MAX_ENTRIES_PART = 0.5;

export interface BuildLimitsOptions {
  readonly limits: Pick<Config, 'data' | 'build_time' | 'build_disk' | 'build_files' | 'build_output'>;
  /** The folder of the build. Its bytes and files count against `build_disk` and `build_files`. */
  readonly folder: string;
  readonly progress: Progress;
  /** Fires when somebody cancels the build, and at shutdown. */
  readonly signal: AbortSignal;
  /** After this many milliseconds without output, `progress` gets a line that the build is still running. */
  readonly quietMs: number;
  /** How many milliseconds of `build_time` a resumed build has used before this server follows it. Default 0. */
  readonly spentMs?: number;
}

/**
 * Watches the time, disk use and output of one build. If the build passes a limit or fills the disk of the server,
 * aborts `signal` with a DeployError that says so. Dispose of this object when the build has ended.
 */
export class BuildLimits implements AsyncDisposable {
  readonly signal: AbortSignal;
  readonly #options: BuildLimitsOptions;
  readonly #limit = new AbortController();
  readonly #ended = new AbortController();
  readonly #room: DiskRoom;
  readonly #hidden = new HiddenUse();
  readonly #misses = new Misses();
  readonly #startedAt: number;
  readonly #timers: NodeJS.Timeout[];
  readonly #watching: Promise<void>;
  #heardAt = performance.now();
  #step = 'detection';
  #stepAt = performance.now();
  #outputBytes = 0;
  #use: DiskUse = { bytes: 0, entries: 0 };
  /**
   * True if the last measurement found that the disk of the server is nearly full, but not that this build is filling
   * it.
   */
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

  /** How many milliseconds of `build_time` the build has used. */
  get spentMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** Records which step runs from now on. Messages name this step. */
  enter(step: string): void {
    this.#step = step;
    this.#stepAt = performance.now();
    this.#heardAt = this.#stepAt;
  }

  /** Counts more bytes of output, and aborts the build if it has now printed more than `build_output`. */
  hear(bytes: number): void {
    this.#heardAt = performance.now();
    this.#outputBytes += bytes;
    const limit = this.#options.limits.build_output;
    if (this.#outputBytes > limit && !this.#limit.signal.aborted) {
      this.#limit.abort(tooMuchOutput(limit, this.#step));
    }
  }

  /**
   * Measures the folder of the build after all processes of the build have ended.
   *
   * @throws the reason that aborted the build. This may be a disk limit that the folder has just passed.
   */
  async weigh(): Promise<void> {
    await this.#judge(await diskUse(this.#options.folder, this.#ended.signal));
  }

  /**
   * Measures the folder of the build while the build runs. Also counts deleted files that the build still holds open.
   */
  async #weighAll(cause: LookCause): Promise<void> {
    const { folder } = this.#options;
    using low = new LowDisk(this.#room);
    const uses = await usesOf([folder], 'pause', { signal: this.#ended.signal, low: low.signal });
    const [bytes, entries] = [uses.bytes?.get(folder), uses.entries?.get(folder)];
    const isMissed = bytes === undefined || entries === undefined;
    if (this.#misses.add(isMissed)) this.#limit.abort(movedTooMuch());
    // While a build holds the lock of one of its folders, the server cannot measure that folder. If the disk becomes
    // nearly full meanwhile, the build may be filling it, so abort the build.
    if (isMissed && low.signal.aborted) this.#limit.abort(filledTheDisk());
    if (isMissed) return;
    void this.#hidden.look([folder], cause);
    if (this.#hidden.isCrowded(folder)) this.#limit.abort(tooManyOpenFiles(MAX_DESCRIPTORS));
    const hidden = this.#hidden.of(folder);
    await this.#judge({ bytes: bytes + hidden.bytes, entries: entries + hidden.entries });
  }

  async #judge(use: DiskUse): Promise<void> {
    this.#use = use;
    const passed = this.signal.aborted ? null : await this.#passed();
    if (passed !== null) this.#limit.abort(passed);
    this.signal.throwIfAborted();
  }

  /** The error if the build has passed `build_disk` or `build_files`, otherwise null. */
  async #passed(): Promise<DeployError | null> {
    const { folder, limits } = this.#options;
    const { build_disk } = limits;
    const { entries } = await this.#room.space();
    const files = Math.min(limits.build_files, Math.floor(entries * MAX_ENTRIES_PART));
    // Call `largest` only if the build has passed a limit, because `largestFolders` looks at all files.
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

  /**
   * Whether processes of the build may hide deleted files from this server. If so, this server cannot measure how much
   * disk space such files use.
   */
  async #hasSecrets(): Promise<boolean> {
    return (await foldersWithSecrets([this.#options.folder])).size > 0;
  }

  #speak(): void {
    const now = performance.now();
    if (now - this.#heardAt < this.#options.quietMs || this.signal.aborted) return;
    this.#heardAt = now;
    const left = this.#options.limits.build_time - (now - this.#startedAt);
    this.#options.progress.line(
      `still running: ${this.#step}, ${duration(now - this.#stepAt)}; the build must end within ${duration(roughly(left))}`,
    );
  }

  async #watchDisk(): Promise<void> {
    // To measure the build, the server looks at each of its files. Pause nine times as long as the last measurement
    // took, and at least 2 s, so that measuring takes at most a tenth of the time. If the disk fills up, the pauses are
    // shorter.
    const pace = new DiskPace({ room: this.#room, pauseMs: () => 2000, rest: 9 });
    let tookMs = 0;
    while (!this.#ended.signal.aborted && !this.signal.aborted) {
      try {
        const { low, cause } = await pace.next(tookMs, this.#ended.signal);
        const startedAt = performance.now();
        const before = this.#use;
        await this.#weighAll(cause);
        tookMs = performance.now() - startedAt;
        const isFull = low !== null;
        if (isFull && (isFilling(before, this.#use) || (this.#isPuzzled && (await this.#hasSecrets()))))
          this.#limit.abort(filledTheDisk());
        this.#isPuzzled = isFull;
      } catch (error) {
        if (this.#ended.signal.aborted || this.signal.aborted) return;
        this.#limit.abort(error);
      }
    }
  }
}

/** Rounds a time of more than two minutes down to whole minutes, because its seconds are of no use to people. */
function roughly(ms: number): number {
  return ms > 120_000 ? Math.floor(ms / 60_000) * 60_000 : ms;
}

/** Whether the build grew so much between two measurements that it is probably filling the disk. */
function isFilling(before: DiskUse, now: DiskUse): boolean {
  return now.entries - before.entries > 500 || now.bytes - before.bytes > 8 * 1024 * 1024;
}
