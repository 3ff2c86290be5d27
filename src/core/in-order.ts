import type { ToolName } from './names.ts';

/** Steps of the same tool one after the other, in the order in which they came. */
export class InOrder {
  readonly #last = new Map<ToolName, Promise<unknown>>();

  /** What the step gives or throws; one that failed holds nobody up. */
  run<Result>(tool: ToolName, step: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(tool) ?? Promise.resolve();
    const result = before.then(step, step);
    this.#last.set(
      tool,
      result.catch(() => undefined),
    );
    return result;
  }
}
