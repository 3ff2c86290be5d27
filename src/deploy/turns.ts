import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Entry } from './entry.ts';

const MOST_WAITING = 20;

/**
 * Who deploys and who waits: one at a time for each tool, in the order in which they came; a bounded number over all,
 * in rotation over the tools. Keeps order, decides nothing.
 */
export class Turns {
  readonly #limit: number;
  readonly #run: (entry: Entry) => Promise<void>;
  readonly #running = new Map<ToolName, Entry>();
  /** When a tool’s last deployment ended, counted in endings; forgotten when nothing waits. */
  readonly #endedAt = new Map<ToolName, number>();
  #endings = 0;
  #waiting: Entry[] = [];

  /** @param run - Must not reject. */
  constructor(options: { readonly limit: number; readonly run: (entry: Entry) => Promise<void> }) {
    this.#limit = options.limit;
    this.#run = options.run;
  }

  running(tool: ToolName): Entry | null {
    return this.#running.get(tool) ?? null;
  }

  /** In the order of their turns. */
  waiting(tool: ToolName): readonly Entry[] {
    return this.#waiting.filter((entry) => entry.deployment.tool === tool);
  }

  all(): readonly Entry[] {
    return [...this.#running.values(), ...this.#waiting];
  }

  /**
   * @param leaving - Who will not wait any more.
   * @throws DeployError `LINE_FULL`: each that waits holds a log open, and reads its place in the line.
   */
  assertRoom(tool: ToolName, leaving: readonly Entry[] = []): void {
    if (this.waiting(tool).filter((entry) => !leaving.includes(entry)).length < MOST_WAITING) return;
    throw new DeployError(
      'LINE_FULL',
      `${MOST_WAITING} deployments of ${tool} are waiting already`,
      `Wait until some have ended, or cancel what is not needed: \`cancel ${tool}\``,
    );
  }

  enter(entry: Entry): void {
    this.#waiting.push(entry);
    this.#next();
    this.#tellPlaces(entry.deployment.tool);
  }

  /** Takes a waiting entry out; false where it does not wait. */
  leave(entry: Entry): boolean {
    const waits = this.#waiting.includes(entry);
    this.#waiting = this.#waiting.filter((other) => other !== entry);
    return waits;
  }

  #next(): void {
    for (const entry of this.#inRotation()) {
      // What was under way before a restart of the server is so still, whatever the limit is now.
      if (this.#running.size >= this.#limit && !entry.isTakenUp) continue;
      const { tool } = entry.deployment;
      if (this.#running.has(tool)) continue;
      this.leave(entry);
      this.#running.set(tool, entry);
      void this.#run(entry).finally(() => {
        this.#running.delete(tool);
        this.#endings += 1;
        this.#endedAt.set(tool, this.#endings);
        this.#next();
        this.#tellPlaces(tool);
      });
    }
    if (this.#waiting.length === 0) this.#endedAt.clear();
  }

  /** Whose last deployment ended longest ago comes first: a tool with many that wait keeps no place from the others. */
  #inRotation(): readonly Entry[] {
    const endedAt = (entry: Entry) => this.#endedAt.get(entry.deployment.tool) ?? 0;
    return this.#waiting.toSorted((one, other) => endedAt(one) - endedAt(other));
  }

  #tellPlaces(tool: ToolName): void {
    const isRunning = this.#running.has(tool);
    this.waiting(tool).forEach((entry, index) => {
      const ahead = index + (isRunning ? 1 : 0);
      const what =
        ahead === 0
          ? 'until another tool’s deployment has ended'
          : `${ahead} deployment${ahead === 1 ? '' : 's'} of ${tool} ahead`;
      entry.log.progress.step(`Waiting: ${what}`);
    });
  }
}
