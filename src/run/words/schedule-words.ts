import { DeployError } from '../../core/errors.ts';
import { nextRun } from '../../core/schedule.ts';
import { took } from '../../core/text/duration.ts';
import type { Schedule } from '../../core/types.ts';

/**
 * Says when a scheduled process runs: `update.1 is scheduled: @daily, next at 2026-11-26 03:17 UTC`, or `update.1 is
 * scheduled: @daily, but paused`.
 */
export function scheduledWords(
  name: string,
  { text, cron }: Schedule,
  { now, isPaused }: { readonly now: number; readonly isPaused: boolean },
): string {
  if (isPaused) return `${name} is scheduled: ${text}, but paused`;
  const next = nextRun(cron, now);
  return `${name} is scheduled: ${text}, ${next === null ? 'never' : `next at ${moment(next)}`}`;
}

/** Formats a time: `2026-11-26 03:17 UTC`. */
export function moment(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/**
 * The refusal to start a run of a scheduled process because its last run, or too many runs of the tool, have not ended.
 *
 * @param name - The name of the process, such as `update.1`.
 */
export function runUnderWay(name: string, why = 'its last run has not ended'): DeployError {
  return new DeployError(
    'RUN_UNDER_WAY',
    `the process ${name} was not started: ${why}`,
    'Wait for the end of a run, and try again.',
  );
}

/** Says that a scheduled run was ended because it took too long. */
export function tooLong(limitMs: number, { timeoutSeconds }: Schedule): string {
  const isOwn = timeoutSeconds !== null && timeoutSeconds * 1000 === limitMs;
  return `took longer than ${took(limitMs)} (${isOwn ? 'timeout in toolforge.yaml' : 'schedule_time'}) and was ended`;
}

/**
 * Returns how many milliseconds a scheduled run may take: what the tool asks for, or `mostMs`, the operator's limit, if
 * the tool asks for nothing or for more.
 */
export function runLimit({ timeoutSeconds }: Schedule, mostMs: number): number {
  return timeoutSeconds === null ? mostMs : Math.min(timeoutSeconds * 1000, mostMs);
}
