import type { ScheduleRecords } from '../../src/run/scheduled-runs.ts';

/** Keeps in memory which tools have paused their schedules, and the ended runs: `TOOL/TYPE` and the exit code. */
export function scheduleRecords() {
  const paused = new Set<string>();
  const ended: [string, number | null][] = [];
  const records: ScheduleRecords = {
    isPaused: (tool) => paused.has(tool),
    last: () => null,
    ended: (tool, type, { exitCode }) => void ended.push([`${tool}/${type}`, exitCode]),
  };
  return { paused, ended, records };
}
