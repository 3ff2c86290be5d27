import type { ToolName } from '../../core/names.ts';
import { untilAborted } from '../../core/until-aborted.ts';

/** The tools whose live release is being taken over from an earlier server, and those who wait for that. */
export class Resuming {
  readonly #underWay = new Map<ToolName, Promise<void>>();

  /** @throws whatever `work` throws. */
  async run(tool: ToolName, work: () => Promise<void>): Promise<void> {
    const resuming = work();
    this.#underWay.set(
      tool,
      resuming.catch(() => {}),
    );
    await resuming.finally(() => this.#underWay.delete(tool));
  }

  /**
   * Resolves when nothing of the tool is taken over: what is found beside the live release then goes, and a new
   * rollout must not be among it.
   *
   * @throws the reason of the signal.
   */
  async ended(tool: ToolName, signal: AbortSignal): Promise<void> {
    const resuming = this.#underWay.get(tool);
    if (resuming !== undefined) await untilAborted(resuming, signal);
  }
}
