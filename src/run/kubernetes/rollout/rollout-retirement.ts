import { setTimeout as wait } from 'node:timers/promises';
import { DeployError } from '../../../core/errors.ts';
import { logFailure } from '../../../core/log/alarms.ts';
import type { Log } from '../../../core/log/log.ts';
import { type ObjectParts, removeRollout } from '../rollout-objects.ts';

export interface RolloutRetirementOptions {
  readonly parts: ObjectParts;
  readonly drainMs: number;
  readonly log: Log;
  readonly onGone: (rolloutId: string) => void;
}

const AGAIN_MS = 5000;

interface Retiring {
  readonly tool: string;
  /**
   * Resolves with null when the rollout has ended or this server stops, or with the error if the rollout could not be
   * ended.
   */
  readonly gone: Promise<unknown>;
  readonly hurry: AbortController;
}

/** Ends rollouts that get no new requests. Open requests have the drain time to finish. */
export class RolloutRetirement {
  readonly #options: RolloutRetirementOptions;
  readonly #retiring = new Map<string, Retiring>();

  constructor(options: RolloutRetirementOptions) {
    this.#options = options;
  }

  has(rolloutId: string): boolean {
    return this.#retiring.has(rolloutId);
  }

  of(tool: string): string[] {
    return [...this.#retiring].filter(([, retiring]) => retiring.tool === tool).map(([id]) => id);
  }

  /**
   * Ends a rollout in the background: its `web` processes after the drain time, other processes now. If the cluster
   * does not answer, tries again until it does, or until `hurry` is called. Scheduled runs of the rollout that have
   * begun continue.
   */
  retire(tool: string, namespace: string, rolloutId: string): void {
    if (this.#retiring.has(rolloutId)) return;
    const hurry = new AbortController();
    const gone = this.#end(namespace, rolloutId, hurry.signal)
      .then(() => null)
      .catch((err: unknown) => {
        logFailure(this.#options.log, { error: err, message: 'cannot end an old release', facts: { tool } });
        return err;
      })
      .finally(() => {
        this.#retiring.delete(rolloutId);
        this.#options.onGone(rolloutId);
      });
    this.#retiring.set(rolloutId, { tool, gone, hurry });
  }

  /**
   * Cuts the drains of a tool's old rollouts short and waits until these rollouts have ended.
   *
   * @throws the error that kept a rollout from being ended.
   */
  async hurry(tool: string): Promise<void> {
    const meant = [...this.#retiring.values()].filter((retiring) => retiring.tool === tool);
    for (const { hurry } of meant) hurry.abort();
    const failures = await Promise.all(meant.map(({ gone }) => gone));
    const failure = failures.find((one) => one !== null);
    if (failure !== undefined) throw failure;
  }

  async #end(namespace: string, rolloutId: string, hurry: AbortSignal): Promise<void> {
    const { parts, drainMs, log } = this.#options;
    const removal = { namespace, rolloutId, how: 'gracefully' } as const;
    const staying = parts.pods
      .ofRollout({ id: rolloutId, namespace })
      .filter(({ isScheduled }) => !isScheduled);
    const types = new Set(staying.map(({ type }) => type));
    const others = [...types].filter((type) => type !== 'web');
    // Ignore a failure here: the removal of the whole rollout below removes these processes too.
    const ending =
      others.length === 0 ? null : removeRollout(parts, { ...removal, types: others }).catch(() => {});
    const cut = AbortSignal.any([hurry, parts.closing]);
    if (types.has('web')) await wait(drainMs, null, { signal: cut }).catch(() => {});
    // If this server stops before the rollout has ended, the next start of the server ends the rollout.
    while (!parts.closing.aborted) {
      try {
        const stuck = await removeRollout(parts, { ...removal, types: null });
        await ending;
        if (stuck.length > 0) log.error({ namespace, pods: stuck }, 'pods of a lost node stay Terminating');
        return;
      } catch (error) {
        if (!isAway(error) || hurry.aborted) throw error;
      }
      await wait(AGAIN_MS, null, { signal: cut }).catch(() => {});
    }
  }
}

function isAway(error: unknown): boolean {
  return error instanceof DeployError && error.code === 'CLUSTER_UNREACHABLE';
}
