import { setTimeout as wait } from 'node:timers/promises';
import { nextRun, START_DEADLINE_MS } from '../../core/schedule.ts';

/** The time of day, which may be set while one waits. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after so many milliseconds. @throws AbortError when the signal fires. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  wait: async (ms, signal) => {
    await wait(ms, null, { signal });
  },
};

export interface Timetable {
  /** As `readSchedule` makes it. */
  readonly cron: string;
  readonly clock: Clock;
  /** Called at each moment, within `START_DEADLINE_MS`. It must not throw. */
  readonly onDue: (dueAt: number) => void;
  /** Called where a moment had gone by: the machine slept, or its clock was set. */
  readonly onMissed: (dueAt: number) => void;
}

/** How long a change of the clock can stay unseen, in milliseconds. */
const LOOK_MS = START_DEADLINE_MS / 2;

/**
 * Keeps a timetable until the signal fires, beginning with what comes after now: nothing is made up for. Where the
 * clock is set back, what is due by the new time counts.
 */
export async function keepTimetable(
  { cron, clock, onDue, onMissed }: Timetable,
  signal: AbortSignal,
): Promise<void> {
  let due = nextRun(cron, clock.now());
  while (due !== null && !signal.aborted) {
    const before = clock.now();
    if (before < due) {
      // The rejection is the signal, which the loop asks for.
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
