import type { ScheduledRun } from './runtime.ts';

/**
 * Remembers the newest run of each scheduled process of each tool. The run stays known when a new release goes live.
 */
export class ScheduledRuns {
  readonly #runs = new Map<string, ScheduledRun>();

  last(tool: string, type: string): ScheduledRun | null {
    return this.#runs.get(key(tool, type)) ?? null;
  }

  /** Returns how many scheduled processes of a tool, of whatever release, have a run that has not ended. */
  underWay(tool: string): number {
    return [...this.#runs].filter(([name, run]) => name.startsWith(key(tool, '')) && run.endedAt === null)
      .length;
  }

  set(tool: string, type: string, run: ScheduledRun): void {
    this.#runs.set(key(tool, type), run);
  }
}

function key(tool: string, type: string): string {
  return `${tool}/${type}`;
}
