import type { Log } from '../../core/log/log.ts';
import type { Generation } from './local-rollout.ts';

interface Departure {
  readonly gone: Promise<void>;
  /** Cuts the drain short. */
  readonly hurry: AbortController;
}

/** Ends generations in the background when they get no more requests. */
export class Departures {
  readonly #drainMs: number;
  readonly #log: Log;
  readonly #leaving = new Map<Generation, Departure>();

  constructor(drainMs: number, log: Log) {
    this.#drainMs = drainMs;
    this.#log = log;
  }

  of(tool: string): Generation[] {
    return [...this.#leaving.keys()].filter(({ release }) => release.tool === tool);
  }

  /** Ends a generation when its requests are done or the drain time is over. Does not wait for it. */
  add(generation: Generation): void {
    const hurry = new AbortController();
    const limit = AbortSignal.any([hurry.signal, AbortSignal.timeout(this.#drainMs)]);
    const gone = generation
      .drain(limit, hurry.signal)
      .catch((err: unknown) => this.#log.error({ err }, 'cannot end an old release'))
      .finally(() => this.#leaving.delete(generation));
    this.#leaving.set(generation, { gone, hurry });
  }

  /** Ends the matching generations now. Resolves when they are gone. */
  async hurry(isMeant: (generation: Generation) => boolean): Promise<void> {
    const meant = [...this.#leaving]
      .filter(([generation]) => isMeant(generation))
      .map(([, departure]) => departure);
    for (const { hurry } of meant) hurry.abort();
    await Promise.all(meant.map(({ gone }) => gone));
  }
}
