import type { V1CronJob } from '@kubernetes/client-node';
import { nextRun } from '../../../core/schedule.ts';
import { podFault } from '../../../kubernetes/faults/pod-faults.ts';
import type { ProcessState, ProcessStatus, ScheduledRun } from '../../runtime.ts';
import { LABELS, SCHEDULE } from '../manifests/object-names.ts';
import { commandOf, foreignChange, podStatus, type StatusParts } from '../pods/pod-status.ts';
import type { ToolPod } from '../pods/tool-pods.ts';

export interface ScheduleStatusParts extends StatusParts {
  /** Returns the newest run of a process type that this server has seen. Null if it has seen none. */
  readonly lastRun: (type: string) => ScheduledRun | null;
  /** True if maintainers have paused the schedule of this process type. By default, no schedule is paused. */
  readonly isPaused?: (type: string) => boolean;
}

/** Returns the statuses that `ps` shows of a tool's scheduled processes, and of runs whose schedule was deleted. */
export function scheduleStatuses(
  cronJobs: readonly V1CronJob[],
  pods: readonly ToolPod[],
  parts: ScheduleStatusParts,
): ProcessStatus[] {
  const types = new Set(cronJobs.map(({ metadata }) => metadata?.labels?.[LABELS.process]));
  const running = pods.filter(({ isScheduled, isOver }) => isScheduled && !isOver);
  const left = running.filter(({ type }) => !types.has(type));
  return [
    ...cronJobs.map((cronJob) => scheduleStatus(cronJob, running, parts)),
    ...left.map((pod) => ({ ...podStatus(pod, null, parts), state: 'stopping' as const })),
  ];
}

function scheduleStatus(
  cronJob: V1CronJob,
  running: readonly ToolPod[],
  parts: ScheduleStatusParts,
): ProcessStatus {
  const { metadata, spec } = cronJob;
  const { labels = {}, annotations = {} } = metadata ?? {};
  const type = labels[LABELS.process] ?? '';
  const pod = running.find((one) => one.type === type);
  const fault = pod === undefined || pod.container?.state?.running !== undefined ? null : podFault(pod.pod);
  const lastRun = newestRun(cronJob, parts.lastRun(type));
  const cron = spec?.schedule ?? '';
  const isSuspended = spec?.suspend === true;
  const details = [
    fault?.words ?? lastRun?.detail ?? null,
    isSuspended ? (parts.isPaused?.(type) === true ? 'paused' : 'suspended') : null,
    foreignChange(cronJob),
  ];
  return {
    name: `${type}.1`,
    version: Number(labels[LABELS.version] ?? 0),
    state: stateOf(pod, fault !== null),
    command: commandOf(parts.release(labels[LABELS.rollout] ?? ''), type),
    startedAt: lastRun?.startedAt ?? 0,
    restarts: 0,
    detail: details.filter((detail) => detail !== null).join('; ') || null,
    schedule: {
      text: annotations[SCHEDULE] ?? cron,
      cron,
      nextAt: isSuspended ? null : nextOf(cron),
      lastRun,
    },
  };
}

function stateOf(pod: ToolPod | undefined, hasFault: boolean): ProcessState {
  if (pod === undefined) return 'scheduled';
  if (pod.isTerminating) return 'stopping';
  if (hasFault) return 'crashed';
  return pod.container?.state?.running === undefined ? 'starting' : 'up';
}

/**
 * Returns the newest run: the run that this server has seen, otherwise the run that the CronJob's status describes.
 * Null if there is none.
 */
function newestRun({ status }: V1CronJob, seen: ScheduledRun | null): ScheduledRun | null {
  const { lastScheduleTime, lastSuccessfulTime } = status ?? {};
  if (seen !== null || lastScheduleTime === undefined) return seen;
  const startedAt = new Date(lastScheduleTime).getTime();
  if ((status?.active ?? []).length > 0) return { startedAt, endedAt: null, exitCode: null, detail: null };
  const wellAt = lastSuccessfulTime === undefined ? 0 : new Date(lastSuccessfulTime).getTime();
  return wellAt >= startedAt
    ? { startedAt, endedAt: wellAt, exitCode: 0, detail: 'exited with code 0' }
    : { startedAt, endedAt: startedAt, exitCode: null, detail: 'its result is not known any more' };
}

/**
 * Returns when a schedule is due next. Null if the schedule is not valid: somebody else may have changed the CronJob.
 */
function nextOf(cron: string): number | null {
  try {
    return nextRun(cron, Date.now());
  } catch {
    return null;
  }
}
