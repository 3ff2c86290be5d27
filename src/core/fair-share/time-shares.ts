import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';

interface Work {
  readonly run: () => void;
}

const MAX_AHEAD_MS = 20;

export interface TimeSharesOptions {
  /** The part of all time that the work of everybody together may take, between 0 and 1. */
  readonly part: number;
  /** After so many milliseconds of work, other things get a turn. */
  readonly sliceMs: number;
}

/**
 * Divides a part of the event loop's time fairly. Each piece of work names who it is for. If there is too much work,
 * each waits, and whoever has had the least time comes next. So nobody who makes much work slows down anybody else.
 */
export class TimeShares {
  readonly #options: TimeSharesOptions;
  /** What waits, by whom it is for. */
  readonly #waiting = new Map<string, Work[]>();
  /** By whom it was for: the time that their work took, while anything waits. */
  readonly #usedMs = new Map<string, number>();
  /** Work that was done and not yet waited for. */
  #debtMs = 0;
  #paidAt = performance.now();
  #isServing = false;

  constructor(options: TimeSharesOptions) {
    this.#options = options;
  }

  /** Does the work when it is `key`'s turn, at once if there is time. It must be short, and must not wait. */
  run<Result>(key: string, work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const run = () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      };
      if (!this.#isServing && this.#isFree()) {
        this.#do(key, run);
        return;
      }
      const queue = this.#waiting.get(key);
      if (queue === undefined) this.#enter(key, { run });
      else queue.push({ run });
      if (!this.#isServing) void this.#serve();
    });
  }

  /** Whoever was away is hardly ahead of the one who has had the least: nobody saves up time. */
  #enter(key: string, work: Work): void {
    const least = Math.min(...[...this.#waiting.keys()].map((other) => this.#usedMs.get(other) ?? 0));
    const ahead = Number.isFinite(least) ? least - MAX_AHEAD_MS : 0;
    this.#usedMs.set(key, Math.max(this.#usedMs.get(key) ?? 0, ahead));
    this.#waiting.set(key, [work]);
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    while (this.#waiting.size > 0) {
      if (!this.#isFree()) await wait(Math.ceil(this.#debtMs / this.#options.part));
      this.#next();
      // Whoever has more work comes back before the next one is chosen.
      await nextTurn();
    }
    this.#usedMs.clear();
    this.#isServing = false;
  }

  #next(): void {
    let key: string | null = null;
    for (const other of this.#waiting.keys()) {
      if (key === null || (this.#usedMs.get(other) ?? 0) < (this.#usedMs.get(key) ?? 0)) key = other;
    }
    if (key === null) return;
    const queue = this.#waiting.get(key) ?? [];
    const work = queue.shift();
    if (queue.length === 0) this.#waiting.delete(key);
    if (work !== undefined) this.#do(key, work.run);
  }

  #do(key: string, run: () => void): void {
    const startedAt = performance.now();
    run();
    const tookMs = performance.now() - startedAt;
    this.#debtMs += tookMs;
    if (this.#isServing) this.#usedMs.set(key, (this.#usedMs.get(key) ?? 0) + tookMs);
  }

  /** Pays off the debt with the time that has passed. */
  #isFree(): boolean {
    const now = performance.now();
    // Never below zero, if somebody replaces the clock: otherwise the debt would grow by all that time.
    const passedMs = Math.max(0, now - this.#paidAt);
    this.#debtMs = Math.max(0, this.#debtMs - passedMs * this.#options.part);
    this.#paidAt = now;
    return this.#debtMs < this.#options.sliceMs;
  }
}

/**
 * The time for what tools and builds print: cleaning, masking and telling their lines. A tool that prints faster than
 * its share waits with its next output. Long lists of a tool's deployments, builds and releases are made in it too.
 */
export const outputTime = new TimeShares({ part: 0.25, sliceMs: 4 });

/** Output in pieces whose work is short, even if each byte is a line. */
export function* inPieces(chunk: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < chunk.length; start += PIECE_BYTES) {
    yield chunk.subarray(start, start + PIECE_BYTES);
  }
}

const PIECE_BYTES = 2048;
