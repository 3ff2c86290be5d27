import { once } from 'node:events';
import type { LogLine } from './runtime.ts';

const MOST_WAITING = 1000;

/**
 * The lines that wait for one reader. A reader that falls behind loses lines and is told how many; it never
 * holds the tool back.
 */
export class LogFollower {
  readonly #accepts: (process: string) => boolean;
  readonly #arrivals = new EventTarget();
  #waiting: LogLine[] = [];
  #leftOut = 0;

  constructor(accepts: (process: string) => boolean) {
    this.#accepts = accepts;
  }

  push(line: LogLine): void {
    if (!this.#accepts(line.process)) return;
    if (this.#waiting.length >= MOST_WAITING) {
      this.#leftOut += 1;
      return;
    }
    this.#waiting.push(...this.#gap(), line);
    this.#arrivals.dispatchEvent(new Event('line'));
  }

  /** The lines as they come, until the signal. */
  async *lines(signal: AbortSignal): AsyncGenerator<LogLine> {
    while (!signal.aborted) {
      const lines = [...this.#waiting, ...this.#gap()];
      this.#waiting = [];
      yield* lines;
      if (this.#waiting.length > 0 || signal.aborted) continue;
      try {
        await once(this.#arrivals, 'line', { signal });
      } catch {
        return; // The signal, which is how a reader leaves.
      }
    }
  }

  #gap(): LogLine[] {
    if (this.#leftOut === 0) return [];
    const text = `… ${this.#leftOut} lines left out`;
    this.#leftOut = 0;
    return [{ at: new Date().toISOString(), process: 'push', text }];
  }
}
