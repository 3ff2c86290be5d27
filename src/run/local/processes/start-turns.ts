import { setTimeout as wait } from 'node:timers/promises';
import { ConcurrencyLimit, KeyedConcurrencyLimit } from '../../../core/concurrency/concurrency-limit.ts';
import type { ToolName } from '../../../core/names.ts';

/**
 * While a tool has its turn to start a process, the server waits at most this many milliseconds for the start. Then the
 * pause at the end of the turn begins, even if the start has not ended. So a start that hangs does not hold up other
 * tools.
 */
const MOST_MS = 500;
const NEVER = new AbortController().signal;

/**
 * Limits how many processes start at the same time: one of each tool, and at most `atOnce` of all tools. A turn lasts
 * for the start, of which at most `MOST_MS` count, and for a pause after it (`rest`). If several tools wait, they take
 * turns.
 *
 * This is needed because the server starts several programs to start a process, and serves nobody else while it starts
 * a program. The schedules of many tools can be due in the same second, a release can have many processes, and people
 * can start runs and commands again and again.
 */
export class StartTurns {
  /**
   * The limits for scheduled runs and for commands of `run`: one process starts at a time, and then no other starts for
   * three times as long as the start took (of which at most `MOST_MS` counts). These limits are strict, because many
   * runs can be due at the same moment, and it does little harm if one waits.
   */
  static readonly RUNS = { atOnce: 1, rest: 3 };
  /**
   * The limits for processes of rollouts and for processes that are restarted: four start at a time, and each keeps its
   * turn after the start for half as long as the start took (of which at most `MOST_MS` counts). These limits are mild,
   * because visitors wait for such processes.
   */
  static readonly ROLLOUTS = { atOnce: 4, rest: 0.5 };

  readonly #ofTool = new KeyedConcurrencyLimit(1);
  readonly #all: ConcurrencyLimit;
  readonly #rest: number;

  /**
   * @param options - `atOnce`: how many tools may start a process at the same time. `rest`: after a start, the tool
   * keeps its turn for this many times as long as the start has taken.
   */
  constructor({ atOnce, rest }: { readonly atOnce: number; readonly rest: number }) {
    this.#all = new ConcurrencyLimit(atOnce);
    this.#rest = rest;
  }

  /** Calls `start` when it is the turn of the tool. @throws what `start` throws. */
  async run<Started>(tool: ToolName, start: () => Promise<Started>): Promise<Started> {
    const { promise, resolve, reject } = Promise.withResolvers<Started>();
    const startAndRest = async () => {
      const startedAt = performance.now();
      const started = start().then(resolve, reject);
      await Promise.race([started, wait(MOST_MS, null, { ref: false })]);
      await wait(Math.min(performance.now() - startedAt, MOST_MS) * this.#rest);
    };
    void this.#ofTool.run(tool, () => this.#all.run(startAndRest), NEVER);
    return await promise;
  }
}
