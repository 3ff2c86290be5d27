import type { Log } from '../../core/log/log.ts';
import type { LocalRollout } from './local-rollout.ts';

interface Retiring {
  readonly gone: Promise<void>;
  /** Cuts the drain short. */
  readonly hurry: AbortController;
}

/** Ends rollouts in the background when they get no more requests. */
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

  /** Ends a rollout when its requests are done or the drain time is over. Does not wait for it. */
  add(rollout: LocalRollout): void {
    const hurry = new AbortController();
    const limit = AbortSignal.any([hurry.signal, AbortSignal.timeout(this.#drainMs)]);
    const gone = rollout
      .drain(limit, hurry.signal)
      .catch((err: unknown) => this.#log.error({ err }, 'cannot end an old release'))
      .finally(() => this.#retiring.delete(rollout));
    this.#retiring.set(rollout, { gone, hurry });
  }

  /** Ends the matching rollouts now. Resolves when they are gone. */
  async hurry(isMeant: (rollout: LocalRollout) => boolean): Promise<void> {
    const meant = [...this.#retiring].filter(([rollout]) => isMeant(rollout)).map(([, retiring]) => retiring);
    for (const { hurry } of meant) hurry.abort();
    await Promise.all(meant.map(({ gone }) => gone));
  }
}
