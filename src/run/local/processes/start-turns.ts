import { setTimeout as wait } from 'node:timers/promises';
import { ConcurrencyLimit, KeyedConcurrencyLimit } from '../../../core/concurrency/concurrency-limit.ts';
import type { ToolName } from '../../../core/names.ts';

/** After a start, no other start begins for this many times as long as the start has taken. */
const REST = 3;
/** A start counts as taking this many milliseconds at most, so that one that hangs does not hold up the others. */
const MOST_MS = 500;
const NEVER = new AbortController().signal;

/**
 * Lets processes start one after the other, with a rest after each start. To start a process, the server starts several
 * programs, and serves nobody else while it starts a program. The schedules of many tools are due in the same second,
 * and people can start runs and commands as often as they like.
 *
 * If several tools wait, they take turns.
 */
export class StartTurns {
  readonly #ofTool = new KeyedConcurrencyLimit(1);
  readonly #all = new ConcurrencyLimit(1);

  /** Calls `start` when it is the turn of the tool. @throws what `start` throws. */
  async run<Started>(tool: ToolName, start: () => Promise<Started>): Promise<Started> {
    const { promise, resolve, reject } = Promise.withResolvers<Started>();
    const startAndRest = async () => {
      const startedAt = performance.now();
      const started = start().then(resolve, reject);
      await Promise.race([started, wait(MOST_MS, null, { ref: false })]);
      await wait(Math.min(performance.now() - startedAt, MOST_MS) * REST);
    };
    void this.#ofTool.run(tool, () => this.#all.run(startAndRest), NEVER);
    return await promise;
  }
}
