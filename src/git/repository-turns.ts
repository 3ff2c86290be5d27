import { untilAborted } from '../core/concurrency/until-aborted.ts';
import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';

/**
 * How many pushes of one person may run at the same time. `MAX_PUSHES_OF_TOOL` is the number for one tool. Each push
 * keeps git processes running, even while it waits for its deployment.
 */
const MAX_PUSHES_OF_PERSON = 40;
const MAX_PUSHES_OF_TOOL = 30;
/** How many of the pushes to one tool may be of one person, so that the other maintainers can push too. */
const MAX_PUSHES_OF_PERSON_TO_TOOL = 20;

/**
 * Counts the pushes and the copies that use each repository. Work that would disturb these, such as merging packs,
 * waits until none of them runs.
 */
export class RepositoryTurns {
  readonly #pushes = new Map<ToolName, number>();
  readonly #copies = new Map<ToolName, number>();
  /** How many pushes of each person run, in all and to each tool. `keysOf` makes the keys. */
  readonly #pushesOfPersons = new Map<string, number>();
  readonly #work = new Map<ToolName, Promise<void>>();
  readonly #whenIdle = new Map<ToolName, (() => void)[]>();
  #merge: Promise<void> | null = null;

  /**
   * Takes a place for a push of the person `uid`, as soon as no work of `whileIdle` is using the repository. No such
   * work begins until `leave` gives the place back.
   *
   * @throws DeployError `TOO_MANY_PUSHES` if the person or the tool has too many pushes under way already.
   */
  async enter(tool: ToolName, uid: string): Promise<void> {
    while (this.#work.has(tool)) await this.#work.get(tool);
    this.#assertPlace(tool, uid);
    this.#pushes.set(tool, this.#count(tool) + 1);
    for (const key of keysOf(tool, uid)) this.#pushesOfPersons.set(key, this.#countOf(key) + 1);
  }

  /** Gives back the place of a push. @returns true if no other push is using the repository. */
  leave(tool: ToolName, uid: string): boolean {
    for (const key of keysOf(tool, uid)) {
      const leftOfPerson = this.#countOf(key) - 1;
      if (leftOfPerson > 0) this.#pushesOfPersons.set(key, leftOfPerson);
      else this.#pushesOfPersons.delete(key);
    }
    return this.#leave(tool, this.#pushes);
  }

  /**
   * Calls `copy`, which copies a commit into the tool's repository, as soon as no work of `whileIdle` is using the
   * repository. No such work begins until the copy has ended: git-prune(1) would delete the pack that git is writing.
   *
   * @throws the signal's reason, if the signal fires before the copy has begun.
   */
  async whileCopying<Result>(
    tool: ToolName,
    copy: () => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    for (let work = this.#work.get(tool); work !== undefined; work = this.#work.get(tool))
      await untilAborted(work, signal);
    this.#copies.set(tool, (this.#copies.get(tool) ?? 0) + 1);
    try {
      return await copy();
    } finally {
      this.#leave(tool, this.#copies);
    }
  }

  /** Gives back a place of the tool in `places`. @returns true if the tool has no other place in `places`. */
  #leave(tool: ToolName, places: Map<ToolName, number>): boolean {
    const left = (places.get(tool) ?? 1) - 1;
    if (left > 0) places.set(tool, left);
    else places.delete(tool);
    if (!this.isBusy(tool)) this.#letIdleWork(tool);
    return left <= 0;
  }

  #letIdleWork(tool: ToolName): void {
    const waiting = this.#whenIdle.get(tool) ?? [];
    this.#whenIdle.delete(tool);
    // Let the waiting work of `whileIdle` begin only after the client has its answer (`setImmediate`), because this
    // work starts git, which blocks this process for milliseconds.
    for (const resolve of waiting) setImmediate(resolve);
  }

  /** True while a push, a copy, or the work of `whileIdle` uses the tool's repository. */
  isBusy(tool: ToolName): boolean {
    return this.#count(tool) > 0 || this.#copies.has(tool) || this.#work.has(tool);
  }

  /**
   * Runs `work` once no push and no copy uses the repository. Pushes that come while `work` waits run before `work`.
   * Pushes that come while `work` runs wait for its end.
   */
  async whileIdle(tool: ToolName, work: () => Promise<void>): Promise<void> {
    while (this.isBusy(tool)) await (this.#work.get(tool) ?? this.#idle(tool));
    const done = work().finally(() => this.#work.delete(tool));
    this.#work.set(
      tool,
      done.catch(() => undefined),
    );
    await done;
  }

  /** Settles when the merge of packs that is running has ended. Null if none is running. */
  get merge(): Promise<void> | null {
    return this.#merge;
  }

  /**
   * Runs `merge`, which merges the packs of one repository. Does nothing if packs of another repository are being
   * merged: if this method waited for the other merge, pushes to the tool, and backups, would wait too.
   */
  async mergeAlone(merge: () => Promise<void>): Promise<void> {
    if (this.#merge !== null) return;
    const merging = merge().finally(() => {
      this.#merge = null;
    });
    this.#merge = merging.catch(() => undefined);
    await merging;
  }

  #count(tool: ToolName): number {
    return this.#pushes.get(tool) ?? 0;
  }

  #idle(tool: ToolName): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle.set(tool, [...(this.#whenIdle.get(tool) ?? []), resolve]);
    });
  }

  #countOf(key: string): number {
    return this.#pushesOfPersons.get(key) ?? 0;
  }

  #assertPlace(tool: ToolName, uid: string): void {
    const why = this.#whyFull(tool, uid);
    if (why === null) return;
    throw new DeployError('TOO_MANY_PUSHES', why, 'Wait until some pushes have ended, and push again.');
  }

  #whyFull(tool: ToolName, uid: string): string | null {
    const [all, here] = keysOf(tool, uid).map((key) => this.#countOf(key));
    if ((all ?? 0) >= MAX_PUSHES_OF_PERSON)
      return `the user ${uid} has ${MAX_PUSHES_OF_PERSON} pushes under way already`;
    if ((here ?? 0) >= MAX_PUSHES_OF_PERSON_TO_TOOL)
      return `the user ${uid} has ${MAX_PUSHES_OF_PERSON_TO_TOOL} pushes to ${tool} under way already`;
    if (this.#count(tool) >= MAX_PUSHES_OF_TOOL)
      return `${MAX_PUSHES_OF_TOOL} pushes to ${tool} are under way already`;
    return null;
  }
}

/** The two keys under which `RepositoryTurns` counts a push for its person: to all tools, and to this tool. */
function keysOf(tool: ToolName, uid: string): readonly string[] {
  return [uid, `${uid} ${tool}`];
}
