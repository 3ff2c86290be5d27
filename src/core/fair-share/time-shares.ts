import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';

interface Work {
  readonly run: () => void;
}

const MAX_AHEAD_MS = 20;
/**
 * `#processorPart` considers about the last 100 ms of work. The time between pieces of work, in which there is no work,
 * does not count.
 */
const RECENT_MS = 100;

export interface TimeSharesOptions {
  /** The part of all time, between 0 and 1, that the work of all keys (such as tools) together may take. */
  readonly part: number;
  /** After this many milliseconds of work, the event loop serves other work before the next piece begins. */
  readonly sliceMs: number;
}

/**
 * Divides a part of the event loop's time fairly among keys, such as tools. If there is too much work, all work waits,
 * and the key that has had the least time comes next. So a key with much work does not slow down the others.
 */
export class TimeShares {
  readonly #options: TimeSharesOptions;
  /** The work that waits. For each key of `run`, such as a tool, the work in the order in which it came. */
  readonly #waiting = new Map<string, Work[]>();
  /** How many milliseconds the work of each key has taken since work last began to wait. */
  readonly #usedMs = new Map<string, number>();
  /** How many more milliseconds of work were done than the allowed part of the time. Falls as time passes. */
  #debtMs = 0;
  #paidAt = performance.now();
  #isServing = false;
  /**
   * After this time (`performance.now()`), work that arrives in this round of the event loop has to wait for its turn.
   * Null if no work has begun in this round.
   */
  #sliceEnd: number | null = null;
  /**
   * How many milliseconds recent work took by the clock. `#processorMs` has in how many of them this process used a
   * processor.
   */
  #passedMs = RECENT_MS;
  #processorMs = RECENT_MS;

  constructor(options: TimeSharesOptions) {
    this.#options = options;
  }

  /**
   * Does the work immediately if there is time for it, otherwise when `key` gets its turn. The work must be short and
   * synchronous.
   */
  run<Result>(key: string, work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const run = () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      };
      if (!this.#isServing && this.#isFree() && this.#isInSlice()) {
        this.#do(key, run);
        return;
      }
      const queue = this.#waiting.get(key);
      if (queue === undefined) this.#enter(key, { run });
      else queue.push({ run });
      if (!this.#isServing) void this.#serve();
    });
  }

  /**
   * Does work that may take long. The work yields after each short step. When its steps have taken `sliceMs`, other
   * work gets its turn before the next step.
   */
  async runSteps<Result>(key: string, steps: Generator<void, Result>): Promise<Result> {
    for (;;) {
      const step = await this.run(key, () => {
        const end = performance.now() + this.#options.sliceMs;
        let one = steps.next();
        while (one.done !== true && performance.now() < end) one = steps.next();
        return one;
      });
      if (step.done === true) return step.value;
    }
  }

  /**
   * Charges `key` the time of work that is already done. Then lets the event loop do other work, and waits until `key`
   * gets its turn.
   */
  async pay(key: string, workMs: number): Promise<void> {
    this.#charge(key, workMs);
    await nextTurn();
    await this.run(key, () => undefined);
  }

  /**
   * Adds a key, such as a tool, that had no waiting work. However long the key had no work, it counts as having used at
   * most `MAX_AHEAD_MS` less than each other waiting key.
   */
  #enter(key: string, work: Work): void {
    const least = Math.min(...[...this.#waiting.keys()].map((other) => this.#usedMs.get(other) ?? 0));
    const ahead = Number.isFinite(least) ? least - MAX_AHEAD_MS : 0;
    this.#usedMs.set(key, Math.max(this.#usedMs.get(key) ?? 0, ahead));
    this.#waiting.set(key, [work]);
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    while (this.#waiting.size > 0) {
      if (this.#isFree()) await nextTurn();
      else await wait(Math.ceil(this.#debtMs / this.#options.part));
      // End this slice of work by the clock too. On a machine that is busy with other programs, work hardly raises
      // `#debtMs`, so `#debtMs` alone would end the slice too late.
      const end = performance.now() + this.#options.sliceMs;
      do {
        this.#next();
        // Wait, so that the caller whose work has just run can add more work with its key before `#next` chooses a key.
        await null;
      } while (this.#waiting.size > 0 && performance.now() < end && this.#isFree());
    }
    this.#usedMs.clear();
    this.#isServing = false;
  }

  /**
   * True if work may still begin immediately in this round of the event loop. The clock decides, because on a busy
   * machine `#debtMs` grows slowly and would allow work for too long.
   */
  #isInSlice(): boolean {
    const now = performance.now();
    if (this.#sliceEnd === null) {
      this.#sliceEnd = now + this.#options.sliceMs;
      setImmediate(() => {
        this.#sliceEnd = null;
      });
    }
    return now < this.#sliceEnd;
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
    const before = process.threadCpuUsage();
    run();
    const passedMs = performance.now() - startedAt;
    const { user, system } = process.threadCpuUsage(before);
    this.#charge(key, passedMs * this.#processorPart(passedMs, (user + system) / 1000));
  }

  #charge(key: string, tookMs: number): void {
    this.#debtMs += tookMs;
    if (this.#isServing) this.#usedMs.set(key, (this.#usedMs.get(key) ?? 0) + tookMs);
  }

  /**
   * Returns the part of the time of recent work in which this process used a processor. On a busy machine, other
   * programs use the processor in the remaining time, which is charged to no key. Several pieces of work are counted
   * together, because Linux counts processor time in steps of milliseconds.
   */
  #processorPart(passedMs: number, processorMs: number): number {
    const kept = Math.max(0, 1 - passedMs / RECENT_MS);
    this.#passedMs = this.#passedMs * kept + passedMs;
    this.#processorMs = this.#processorMs * kept + processorMs;
    return Math.min(1, this.#processorMs / this.#passedMs);
  }

  /** Lowers `#debtMs` for the time that has passed. True if more work may run now. */
  #isFree(): boolean {
    const now = performance.now();
    const passedMs = Math.max(0, now - this.#paidAt);
    this.#debtMs = Math.max(0, this.#debtMs - passedMs * this.#options.part);
    this.#paidAt = now;
    return this.#debtMs < this.#options.sliceMs;
  }
}

/** Does all steps of some work without a pause, and returns the result. `TimeShares.runSteps` makes pauses. */
export function allSteps<Result>(steps: Generator<void, Result>): Result {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/**
 * The time for the output of tools and builds: cleaning, masking and passing on lines. If a tool prints faster than its
 * share allows, its next output waits. Long lists of deployments, builds and releases use this time too. The part is
 * small, because to write the lines and to collect their garbage takes as much time again.
 */
export const outputTime = new TimeShares({ part: 0.15, sliceMs: 3 });

/** The time in which the server reads the headers of the archives that people send. */
export const archiveTime = new TimeShares({ part: 0.25, sliceMs: 3 });

/** Cuts output into pieces of at most `PIECE_BYTES`. So each piece takes little time, even if each byte is a line. */
export function* inPieces(chunk: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < chunk.length; start += PIECE_BYTES) {
    yield chunk.subarray(start, start + PIECE_BYTES);
  }
}

const PIECE_BYTES = 2048;
