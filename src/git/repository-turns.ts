import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';

/**
 * How many pushes of one person, and to one tool, may run at the same time. Each push keeps git processes running, even
 * while it waits for its deployment.
 */
const MAX_PUSHES_OF_PERSON = 40;
const MAX_PUSHES_OF_TOOL = 30;

/**
 * Counts the pushes that use each repository, and lets work that would disturb them, such as merging packs, wait until no
 * push runs.
 */
export class RepositoryTurns {
  readonly #pushes = new Map<ToolName, number>();
  readonly #pushesOfPersons = new Map<string, number>();
  readonly #work = new Map<ToolName, Promise<void>>();
  readonly #whenIdle = new Map<ToolName, (() => void)[]>();

  /**
   * Takes a place for a push of the person `uid`, as soon as no work is using the repository. No work begins until
   * `leave` gives the place back.
   *
   * @throws DeployError `TOO_MANY_PUSHES`
   */
  async enter(tool: ToolName, uid: string): Promise<void> {
    while (this.#work.has(tool)) await this.#work.get(tool);
    this.#assertPlace(tool, uid);
    this.#pushes.set(tool, this.#count(tool) + 1);
    this.#pushesOfPersons.set(uid, (this.#pushesOfPersons.get(uid) ?? 0) + 1);
  }

  /** Gives back a place. @returns true if no other push is using the repository */
  leave(tool: ToolName, uid: string): boolean {
    const leftOfPerson = (this.#pushesOfPersons.get(uid) ?? 1) - 1;
    if (leftOfPerson > 0) this.#pushesOfPersons.set(uid, leftOfPerson);
    else this.#pushesOfPersons.delete(uid);
    const left = (this.#pushes.get(tool) ?? 1) - 1;
    this.#pushes.set(tool, left);
    if (left > 0) return false;
    const waiting = this.#whenIdle.get(tool) ?? [];
    this.#whenIdle.delete(tool);
    // The work that waits in `whileIdle` starts git, which blocks this process for milliseconds. With `setImmediate`,
    // the client gets its answer before that.
    for (const resolve of waiting) setImmediate(resolve);
    return true;
  }

  /** True while a push, or work that waits for pushes, uses the tool's repository. */
  isBusy(tool: ToolName): boolean {
    return this.#count(tool) > 0 || this.#work.has(tool);
  }

  /** Runs `work` while no push uses the repository. `work` waits for running pushes to end; new pushes wait for `work`. */
  async whileIdle(tool: ToolName, work: () => Promise<void>): Promise<void> {
    while (this.isBusy(tool)) await (this.#work.get(tool) ?? this.#idle(tool));
    const done = work().finally(() => this.#work.delete(tool));
    this.#work.set(
      tool,
      done.catch(() => undefined),
    );
    await done;
  }

  #count(tool: ToolName): number {
    return this.#pushes.get(tool) ?? 0;
  }

  #idle(tool: ToolName): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle.set(tool, [...(this.#whenIdle.get(tool) ?? []), resolve]);
    });
  }

  #assertPlace(tool: ToolName, uid: string): void {
    const isPersonFull = (this.#pushesOfPersons.get(uid) ?? 0) >= MAX_PUSHES_OF_PERSON;
    if (!isPersonFull && this.#count(tool) < MAX_PUSHES_OF_TOOL) return;
    throw new DeployError(
      'TOO_MANY_PUSHES',
      isPersonFull
        ? `the user ${uid} has ${MAX_PUSHES_OF_PERSON} pushes under way already`
        : `${MAX_PUSHES_OF_TOOL} pushes to ${tool} are under way already`,
      'Wait until some pushes have ended, and push again.',
    );
  }
}
