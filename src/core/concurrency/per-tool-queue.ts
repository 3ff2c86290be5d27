import type { ToolName } from '../names.ts';

/** Runs the steps of each tool one after the other, in the order in which they were given. */
export class PerToolQueue {
  readonly #last = new Map<ToolName, Promise<unknown>>();

  /**
   * Runs a step when all earlier steps of the tool have ended, even if one of them failed. @returns the step's result.
   */
  run<Result>(tool: ToolName, step: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(tool) ?? Promise.resolve();
    const result = before.then(step, step);
    const settled = result
      .catch(() => undefined)
      .finally(() => {
        if (this.#last.get(tool) === settled) this.#last.delete(tool);
      });
    this.#last.set(tool, settled);
    return result;
  }
}
