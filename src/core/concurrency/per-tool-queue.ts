import type { ToolName } from '../names.ts';

/** Runs the steps of each tool one after the other, in the order in which they were given. */
export class PerToolQueue {
  readonly #last = new Map<ToolName, Promise<unknown>>();

  /** Runs a step in its turn. @returns the result of the step. A step that fails does not stop the next steps. */
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
