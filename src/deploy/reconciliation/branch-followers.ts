import { setTimeout as delay } from 'node:timers/promises';
import type { ToolName } from '../../core/names.ts';
import type { DeployContext } from '../deploy-context.ts';
import { followLive } from './follow-live.ts';

const EVERY_MS = 2000;

/** Retries in the background to move the branches that git could not move to the live commit. */
export class BranchFollowers {
  readonly #context: DeployContext;
  readonly #closing = new AbortController();
  readonly #running = new Map<ToolName, Promise<void>>();

  constructor(context: DeployContext) {
    this.#context = context;
  }

  /**
   * Tries to move the tool's deploy branch to the live commit until this succeeds or the server stops. If the server
   * stops first, its next start tries again.
   */
  follow(tool: ToolName): void {
    if (this.#running.has(tool)) return;
    this.#running.set(
      tool,
      this.#follow(tool).finally(() => this.#running.delete(tool)),
    );
  }

  async #follow(tool: ToolName): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await delay(EVERY_MS, null, { signal });
        await followLive(this.#context, tool);
        return;
      } catch (err) {
        if (!signal.aborted) this.#context.log.debug({ err, tool }, 'branch still behind the live release');
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running.values());
  }
}
