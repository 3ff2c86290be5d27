import { setTimeout as wait } from 'node:timers/promises';
import { nextRun, START_DEADLINE_MS } from '../../../core/schedule.ts';

/** Tells the time of day. Somebody may change the clock during a wait. */
export interface Clock {
  /** Returns the time of day in milliseconds since 1970. */
  now(): number;
  /** Waits for this many milliseconds. @throws AbortError when the signal fires. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  wait: async (ms, signal) => {
    await wait(ms, null, { signal });
  },
};

export interface Timetable {
  /** The five fields of the schedule, such as `0 4 * * *`, in the form that `readSchedule` returns. */
  readonly cron: string;
  readonly clock: Clock;
  /** Called when a run is due, at most `START_DEADLINE_MS` late. It must not throw. */
  readonly onDue: (dueAt: number) => void;
  /**
   * Called if the time of a run was missed because the machine slept or its clock was changed. If several runs in a row
   * were missed, called only for the first.
   */
  readonly onMissed: (dueAt: number) => void;
}

/** The timetable looks at the clock at least this often, in milliseconds, to notice if somebody changes the clock. */
const LOOK_MS = START_DEADLINE_MS / 2;

/**
 * Calls `onDue` each time a run is due, until the signal fires. A run that was missed does not start later. If the
 * clock is set back, the timetable continues from the new time.
 */
export async function keepTimetable(
  { cron, clock, onDue, onMissed }: Timetable,
  signal: AbortSignal,
): Promise<void> {
  let due = nextRun(cron, clock.now());
  while (due !== null && !signal.aborted) {
    const before = clock.now();
    if (before < due) {
      // The wait rejects when the signal fires, and the loop checks the signal.
      await clock.wait(Math.min(due - before, LOOK_MS), signal).catch(() => {});
      if (clock.now() < before) due = nextRun(cron, clock.now());
      continue;
    }
    const isLate = before - due > START_DEADLINE_MS;
    if (isLate) onMissed(due);
    else onDue(due);
    due = nextRun(cron, isLate ? before : due);
  }
}
