import type { ToolName } from '../../core/names.ts';
import { RELEASE_TYPE } from '../../core/replicas.ts';
import type { ProcessStatus } from '../runtime.ts';
import type { Drift } from './drift.ts';
import type { LiveRollouts } from './live.ts';
import { deploymentsOf, type ObjectParts } from './objects.ts';
import { scheduleStatuses } from './schedule-status.ts';
import type { ScheduledEnds } from './scheduled-ends.ts';
import { cronJobsOf } from './schedules.ts';
import { type StatusParts, toolStatus, withNotes } from './status.ts';

export interface ProcessStatusesParts extends ObjectParts {
  readonly live: LiveRollouts;
  readonly drift: Drift;
  readonly ends: ScheduledEnds;
}

/** The processes of a tool, the scheduled ones too, without one-offs. @throws as `retrying`. */
export async function processStatuses(
  parts: ProcessStatusesParts,
  tool: ToolName,
  namespace: string,
): Promise<ProcessStatus[]> {
  const { live, drift, ends, config, closing } = parts;
  const [deployments, schedules] = await Promise.all([
    deploymentsOf(parts, tool, namespace, closing),
    cronJobsOf(parts, tool, namespace, closing),
  ]);
  const all = parts.pods.of(tool).filter(({ type }) => type !== RELEASE_TYPE);
  const pods = all.filter(({ isScheduled }) => !isScheduled);
  const ofStatus: StatusParts = {
    runMemory: config.run_memory,
    release: (id) => live.releaseOf(id),
    isDraining: (id) => live.isLeaving(id),
  };
  const lastRun = (type: string) => ends.last(tool, type);
  const statuses = [
    ...toolStatus(pods, deployments, ofStatus),
    ...scheduleStatuses(schedules, all, { ...ofStatus, lastRun }),
  ];
  return withNotes(statuses, live.of(tool), drift.notes(tool));
}
