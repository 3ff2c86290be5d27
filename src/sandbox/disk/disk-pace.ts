import { setTimeout as wait } from 'node:timers/promises';
import type { DiskRoom, DiskSpace } from '../../core/disk/disk-space.ts';

/**
 * Why the server measures the folders of tools now: the usual pause is over, or free bytes or free entries (files and
 * folders) of the disk are low or fell quickly.
 */
export type LookCause = 'pause' | 'bytes' | 'entries';

export interface PaceOptions {
  readonly room: DiskRoom;
  /**
   * Returns the shortest pause in milliseconds between two measurements of the folders that tools write to. Does not
   * apply while the disk fills quickly or is nearly full.
   */
  readonly pauseMs: () => number;
  /**
   * The pause after a measurement of tools' folders is at least this many times the cost of the measurement: its
   * duration or its processor time. Does not apply while the disk fills quickly or is nearly full.
   */
  readonly rest: number;
}

/** The free space of the disk when the folders of tools must be measured, and why they must. */
export interface Look extends DiskSpace {
  readonly cause: LookCause;
  /** For how many milliseconds the disk has been nearly full without a break. */
  readonly lowMs: number;
}

/** The interval at which the free space of the file system is read. Reading it costs almost nothing. */
const TICK_MS = 100;
/**
 * While the disk fills quickly or is nearly full, the pause after a measurement of tools' folders is only this many
 * times the cost of the measurement (its duration or its processor time). `pauseMs` and `rest` do not apply then.
 */
const SHORT_REST = 1;
const FAST_ENTRIES = 2000;
const FAST_BYTES = 64 * 1024 * 1024;

/**
 * Decides when to measure the folders that tools write to. A measurement walks over all files, so it should be rare.
 * But a tool can create a hundred thousand files in two seconds. So a measurement comes early if the disk fills quickly
 * or is nearly full.
 */
export class DiskPace {
  readonly #options: PaceOptions;
  #before: DiskSpace | null = null;
  /**
   * Since when, by `performance.now()`, every reading of the free space has shown that the disk is nearly full. Null if
   * the newest reading has shown enough space.
   */
  #lowSince: number | null = null;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /**
   * Waits until the folders of tools are to be measured again. Resolves with the disk's free space, how long
   * the disk has been nearly full (`lowMs`), and the reason why they are to be measured now.
   *
   * @param costMs - What the last measurement cost: its duration or its processor time, in milliseconds. 0 means that
   *   nothing was measured.
   */
  async next(costMs: number, signal?: AbortSignal): Promise<Look> {
    const { room, pauseMs, rest } = this.#options;
    const startedAt = performance.now();
    for (;;) {
      await wait(Math.min(TICK_MS, pauseMs()), null, { ref: false, ...(signal && { signal }) });
      const space = await room.space();
      this.#before ??= space;
      const now = performance.now();
      this.#lowSince = space.low === null ? null : (this.#lowSince ?? now);
      const waitedMs = now - startedAt;
      const fell = waitedMs < SHORT_REST * costMs ? null : fellFast(this.#before, space);
      const isDue = waitedMs >= Math.max(pauseMs(), rest * costMs);
      if (!isDue && fell === null) continue;
      this.#before = space;
      return { ...space, lowMs: now - (this.#lowSince ?? now), cause: isDue ? 'pause' : (fell ?? 'pause') };
    }
  }
}

function fellFast(before: DiskSpace, { freeEntries, freeBytes, low }: DiskSpace): 'bytes' | 'entries' | null {
  if (low !== null) return low;
  if (before.freeEntries - freeEntries > FAST_ENTRIES) return 'entries';
  return before.freeBytes - freeBytes > FAST_BYTES ? 'bytes' : null;
}

/**
 * Reads the free space of the disk ten times a second, until this object is disposed. `signal` fires as soon as the
 * disk is nearly full.
 */
export class LowDisk implements Disposable {
  readonly #low = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(room: DiskRoom) {
    const look = async () => {
      if ((await room.space()).low !== null) this.#low.abort();
    };
    // Ignore an error of `look`, which reads the free space. The next reading, a moment later, may succeed.
    this.#timer = setInterval(() => void look().catch(() => {}), TICK_MS).unref();
  }

  get signal(): AbortSignal {
    return this.#low.signal;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
