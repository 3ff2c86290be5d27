import { setTimeout as wait } from 'node:timers/promises';
import type { DiskRoom, DiskSpace } from '../core/disk-room.ts';

/** Why it is time for a look: the pause is over, or so much became less. */
export type LookCause = 'pause' | 'bytes' | 'entries';

export interface PaceOptions {
  readonly room: DiskRoom;
  /** The least time between two looks while nothing is happening. */
  readonly pauseMs: number;
  /** A look is followed by so many times the time that it took. */
  readonly rest: number;
}

/** How often the file system itself is asked, which costs next to nothing. */
const TICK_MS = 100;
/** While the disk fills, a look is followed by so many times the time that it took. */
const SHORT_REST = 1;
const FAST_ENTRIES = 2000;
const FAST_BYTES = 64 * 1024 * 1024;

/**
 * When to look into folders that strangers write to. To look costs a walk over all files, so it is rare. But somebody
 * can make a hundred thousand files in two seconds: it is early if the disk fills quickly, or is nearly full.
 */
export class DiskPace {
  readonly #options: PaceOptions;
  #before: DiskSpace | null = null;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /**
   * Resolves when it is time for the next look, with what the disk has left and why it is time.
   *
   * @param tookMs - How long the last look took; 0 = there was none.
   */
  async next(tookMs: number, signal?: AbortSignal): Promise<DiskSpace & { readonly cause: LookCause }> {
    const { room, pauseMs, rest } = this.#options;
    const startedAt = performance.now();
    for (;;) {
      await wait(Math.min(TICK_MS, pauseMs), null, { ref: false, ...(signal && { signal }) });
      const space = await room.space();
      this.#before ??= space;
      const waitedMs = performance.now() - startedAt;
      const fell = waitedMs < SHORT_REST * tookMs ? null : fellFast(this.#before, space);
      const isDue = waitedMs >= Math.max(pauseMs, rest * tookMs);
      if (!isDue && fell === null) continue;
      this.#before = space;
      return { ...space, cause: isDue ? 'pause' : (fell ?? 'pause') };
    }
  }
}

function fellFast(before: DiskSpace, { freeEntries, freeBytes, low }: DiskSpace): 'bytes' | 'entries' | null {
  if (low !== null) return low;
  if (before.freeEntries - freeEntries > FAST_ENTRIES) return 'entries';
  return before.freeBytes - freeBytes > FAST_BYTES ? 'bytes' : null;
}
