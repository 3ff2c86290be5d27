import { untilAborted } from '../../../core/concurrency/until-aborted.ts';
import type { ToolName } from '../../../core/names.ts';

/** Keeps track of the tools whose live release is being resumed after a start of the server. */
export class Resuming {
  readonly #byTool = new Map<ToolName, Promise<void>>();

  /** Runs `work`, which resumes a tool, and remembers it until it ends. @throws the error of `work`. */
  async run(tool: ToolName, work: () => Promise<void>): Promise<void> {
    const resuming = work();
    this.#byTool.set(
      tool,
      resuming.catch(() => {}),
    );
    await resuming.finally(() => this.#byTool.delete(tool));
  }

  /**
   * Resolves when the tool is no longer being resumed. A new rollout must wait for this, because resuming removes
   * everything beside the live release.
   *
   * @throws the reason of the signal.
   */
  async ended(tool: ToolName, signal: AbortSignal): Promise<void> {
    const resuming = this.#byTool.get(tool);
    if (resuming !== undefined) await untilAborted(resuming, signal);
  }
}
