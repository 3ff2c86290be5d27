import { setTimeout as wait } from 'node:timers/promises';

export interface RequestPaceOptions {
  /** How many requests of one person may begin at the same moment, without waiting. */
  readonly burst: number;
  /** How many requests of a person may begin each second after the burst. */
  readonly perSecond: number;
}

/**
 * Limits how often requests of one person begin. Each command takes the server about a millisecond, and each start of a
 * git some milliseconds, so a person who asks in a loop could slow down the others. Requests beyond the limit wait.
 */
export class RequestPace {
  readonly #options: RequestPaceOptions;
  /** For each user name: the time from which the latest request of this person may begin, by `performance.now()`. */
  readonly #dueAt = new Map<string, number>();

  constructor(options: RequestPaceOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the next request of this person may begin. @throws the signal's AbortError if the signal fires first.
   */
  async turn(uid: string, signal: AbortSignal): Promise<void> {
    const { burst, perSecond } = this.#options;
    const stepMs = 1000 / perSecond;
    const now = performance.now();
    const dueAt = Math.max(
      (this.#dueAt.get(uid) ?? Number.NEGATIVE_INFINITY) + stepMs,
      now - (burst - 1) * stepMs,
    );
    this.#dueAt.set(uid, dueAt);
    if (dueAt <= now) return;
    try {
      await wait(dueAt - now, undefined, { signal });
    } catch (error) {
      // Give back the turn of a client that has left. Otherwise a client that asks and disconnects again and again
      // would make its person wait ever longer.
      this.#dueAt.set(uid, (this.#dueAt.get(uid) ?? 0) - stepMs);
      throw error;
    }
  }
}

/** The pace of commands and git over SSH and HTTP. */
export const requestPace = new RequestPace({ burst: 100, perSecond: 30 });
