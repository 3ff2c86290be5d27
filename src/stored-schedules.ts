import type { Log } from './core/log/log.ts';
import type { ToolName } from './core/names.ts';
import type { ScheduleRecords } from './run/scheduled-runs.ts';
import type { Store } from './store/store.ts';

/** Keeps in the store which schedules are paused, and the scheduled runs that have ended. */
export function storedSchedules(
  store: () => Pick<Store, 'pausedSchedules' | 'addScheduledRun'> | null,
  log: Pick<Log, 'error'>,
): ScheduleRecords {
  return {
    isPaused: (tool, type) =>
      store()
        ?.pausedSchedules(tool as ToolName)
        .includes(type) === true,
    ended(tool, type, { endedAt, ...run }) {
      if (endedAt === null) return;
      try {
        store()?.addScheduledRun(tool as ToolName, { ...run, type, endedAt });
      } catch (err) {
        log.error({ err, tool, type }, 'a scheduled run is missing in the history');
      }
    },
  };
}
