import type { Log } from '../../core/log/log.ts';
import type { LocalRollout } from './local-rollout.ts';

interface Retiring {
  readonly gone: Promise<void>;
  /** Aborting this controller cuts the drain of the rollout short. */
  readonly hurry: AbortController;
}

/**
 * Ends, in the background, rollouts that were taken out of service: replaced, stopped or scaled down. They get no new
 * requests, and have at most `drainMs` to finish those that are open. Scheduled processes that run now are not ended:
 * they run to their end, unless `hurry` is called.
 */
export class LocalRetirement {
  readonly #drainMs: number;
  readonly #log: Log;
  readonly #retiring = new Map<LocalRollout, Retiring>();

  constructor(drainMs: number, log: Log) {
    this.#drainMs = drainMs;
    this.#log = log;
  }

  of(tool: string): LocalRollout[] {
    return [...this.#retiring.keys()].filter(({ release }) => release.tool === tool);
  }

  /**
   * Begins to end a rollout: each process gets SIGTERM when its requests are done, at the latest after the drain time.
   * Scheduled processes that run now continue.
   */
  add(rollout: LocalRollout): void {
    const hurry = new AbortController();
    const limit = AbortSignal.any([hurry.signal, AbortSignal.timeout(this.#drainMs)]);
    const gone = rollout
      .drain(limit, hurry.signal)
      .catch((err: unknown) => this.#log.error({ err }, 'cannot end an old release'))
      .finally(() => this.#retiring.delete(rollout));
    this.#retiring.set(rollout, { gone, hurry });
  }

  /**
   * Immediately ends those draining rollouts for which `isMeant` returns true, without waiting for their open requests
   * or scheduled processes. Resolves when the processes of these rollouts have ended.
   */
  async hurry(isMeant: (rollout: LocalRollout) => boolean): Promise<void> {
    const meant = [...this.#retiring].filter(([rollout]) => isMeant(rollout)).map(([, retiring]) => retiring);
    for (const { hurry } of meant) hurry.abort();
    await Promise.all(meant.map(({ gone }) => gone));
  }
}
