import type { ScheduledRun } from './runtime.ts';

/** The facts about schedules that the server stores, so that it knows them after a restart. */
export interface ScheduleRecords {
  /** True if maintainers have paused the schedule of this process type. */
  isPaused(tool: string, type: string): boolean;
  /** Returns the newest recorded run. Null if none is recorded, or if it cannot be read. */
  last(tool: string, type: string): ScheduledRun | null;
  /** Records a run that has ended. May be called again with the same run. Never throws. */
  ended(tool: string, type: string, run: ScheduledRun): void;
}

/** Schedule records that record nothing, and have no paused schedule. */
export const NO_RECORDS: ScheduleRecords = {
  isPaused: () => false,
  last: () => null,
  ended: () => undefined,
};

/**
 * Remembers the newest run of each scheduled process of each tool. The run stays known when a new release goes live.
 */
export class ScheduledRuns {
  readonly #runs = new Map<string, ScheduledRun>();
  readonly #records: ScheduleRecords;

  constructor(records: ScheduleRecords = NO_RECORDS) {
    this.#records = records;
  }

  isPaused(tool: string, type: string): boolean {
    return this.#records.isPaused(tool, type);
  }

  last(tool: string, type: string): ScheduledRun | null {
    return this.#runs.get(key(tool, type)) ?? null;
  }

  /**
   * Returns the newest run, also if it ended before this server started or before the tool got its present name. Null
   * if no run is known.
   */
  lastRecorded(tool: string, type: string): ScheduledRun | null {
    return this.last(tool, type) ?? this.#records.last(tool, type);
  }

  /** Returns how many scheduled processes of a tool, in all its releases together, have a run that has not ended. */
  underWay(tool: string): number {
    return [...this.#runs].filter(([name, run]) => name.startsWith(key(tool, '')) && run.endedAt === null)
      .length;
  }

  set(tool: string, type: string, run: ScheduledRun): void {
    const before = this.last(tool, type);
    this.#runs.set(key(tool, type), run);
    const isNew = before === null || before.endedAt === null || before.startedAt !== run.startedAt;
    if (run.endedAt !== null && isNew) this.#records.ended(tool, type, run);
  }
}

function key(tool: string, type: string): string {
  return `${tool}/${type}`;
}
