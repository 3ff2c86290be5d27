import { setTimeout as wait } from 'node:timers/promises';
import type { Log } from '../../core/log.ts';
import { type ObjectParts, removeRollout } from './objects.ts';

export interface LeavingOptions {
  readonly parts: ObjectParts;
  readonly drainMs: number;
  readonly log: Log;
  readonly onGone: (rolloutId: string) => void;
}

interface Departure {
  readonly tool: string;
  readonly gone: Promise<void>;
  readonly hurry: AbortController;
}

/** Rollouts that no longer get new requests and are ended when those under way are done. */
export class Leaving {
  readonly #options: LeavingOptions;
  readonly #departures = new Map<string, Departure>();

  constructor(options: LeavingOptions) {
    this.#options = options;
  }

  has(rolloutId: string): boolean {
    return this.#departures.has(rolloutId);
  }

  of(tool: string): string[] {
    return [...this.#departures].filter(([, departure]) => departure.tool === tool).map(([id]) => id);
  }

  /**
   * Ends a rollout: what is not `web` now, `web` after the drain time. It goes on by itself. What a schedule has started
   * stays.
   */
  retire(tool: string, namespace: string, rolloutId: string): void {
    if (this.#departures.has(rolloutId)) return;
    const hurry = new AbortController();
    const gone = this.#end(namespace, rolloutId, hurry.signal)
      .catch((err: unknown) => {
        this.#options.log.error({ err, tool }, 'old release not ended');
      })
      .finally(() => {
        this.#departures.delete(rolloutId);
        this.#options.onGone(rolloutId);
      });
    this.#departures.set(rolloutId, { tool, gone, hurry });
  }

  /** Resolves when nothing of the tool is leaving any more; drains are cut short. */
  async hurry(tool: string): Promise<void> {
    const meant = [...this.#departures.values()].filter((departure) => departure.tool === tool);
    for (const { hurry } of meant) hurry.abort();
    await Promise.all(meant.map(({ gone }) => gone));
  }

  async #end(namespace: string, rolloutId: string, hurry: AbortSignal): Promise<void> {
    const { parts, drainMs } = this.#options;
    const removal = { namespace, rolloutId, how: 'gracefully' } as const;
    const staying = parts.pods
      .ofRollout({ id: rolloutId, namespace })
      .filter(({ isScheduled }) => !isScheduled);
    const types = new Set(staying.map(({ type }) => type));
    const others = [...types].filter((type) => type !== 'web');
    const ending = others.length === 0 ? null : removeRollout(parts, { ...removal, types: others });
    if (types.has('web')) {
      const cut = AbortSignal.any([hurry, parts.closing]);
      await wait(drainMs, null, { signal: cut }).catch(() => {});
    }
    // It still has requests; the next server sees to it.
    if (parts.closing.aborted) return;
    await removeRollout(parts, { ...removal, types: null });
    await ending;
  }
}
