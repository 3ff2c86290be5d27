import { setImmediate } from 'node:timers/promises';
import { archiveTime } from '../../core/fair-share/time-shares.ts';

/**
 * When reading the headers of an archive has taken this much processor time, the reading pauses until `archiveTime` has
 * time for the archive's tool again.
 */
const WORK_MS = 3;
/** After this time by the clock, this process does other work, even if the archive has needed little processor time. */
const READ_MS = 10;

/**
 * Counts the processor time that reading the headers of one archive takes, from each `resume` to the next `pause`.
 * Callers pause the count while they wait for something, because this thread does other work then.
 */
export class ArchiveWork {
  readonly #key: string;
  #doneMs = 0;
  /** The processor time that this thread had used when counting last began. Null while the work is not counted. */
  #sinceMs: number | null = null;
  #turnMs = performance.now();

  /** @param key - All archives with the same key, such as a tool, share one part of the server's time. */
  constructor(key: string) {
    this.#key = key;
  }

  /** Waits for a promise. The time of this wait does not count as work. */
  async without<Result>(waiting: Promise<Result>): Promise<Result> {
    if (this.#sinceMs === null) return await waiting;
    this.pause();
    try {
      return await waiting;
    } finally {
      this.resume();
    }
  }

  pause(): void {
    if (this.#sinceMs === null) return;
    this.#doneMs += usedMs() - this.#sinceMs;
    this.#sinceMs = null;
  }

  resume(): void {
    this.#sinceMs ??= usedMs();
  }

  /**
   * If the archive has used `WORK_MS` of processor time, or `READ_MS` by the clock, since the last pause, lets other
   * work run first.
   */
  async turn(): Promise<void> {
    const used = usedMs();
    const doneMs = this.#doneMs + (this.#sinceMs === null ? 0 : used - this.#sinceMs);
    if (doneMs >= WORK_MS) {
      this.#doneMs = 0;
      if (this.#sinceMs !== null) this.#sinceMs = used;
      await this.without(archiveTime.pay(this.#key, doneMs));
    } else if (performance.now() - this.#turnMs < READ_MS) return;
    else await this.without(setImmediate());
    this.#turnMs = performance.now();
  }
}

/** The processor time that this thread has used, in milliseconds. */
function usedMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
