import type { Clock } from '../../src/run/local/processes/timetable.ts';

/** A clock that stands still until a test moves it. */
export class SetClock implements Clock {
  #now: number;
  readonly #waits = new Set<{ readonly until: number; readonly wake: () => void }>();

  /** @param time - In UTC, for example `2026-01-01T00:00:30`. */
  constructor(time: string) {
    this.#now = new Date(`${time}Z`).getTime();
  }

  now(): number {
    return this.#now;
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry = { until: this.#now + ms, wake: resolve };
    this.#waits.add(entry);
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await promise;
    } finally {
      this.#waits.delete(entry);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Lets time pass, second by second. */
  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      this.#now += 1000;
      for (const { until, wake } of this.#waits) if (until <= this.#now) wake();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Sets the clock, and wakes everything that waits. */
  async set(time: string): Promise<void> {
    this.#now = new Date(`${time}Z`).getTime();
    for (const { wake } of this.#waits) wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
