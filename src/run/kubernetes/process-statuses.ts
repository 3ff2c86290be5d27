import type { V1CronJob, V1Deployment } from '@kubernetes/client-node';
import type { ToolName } from '../../core/names.ts';
import { RELEASE_TYPE } from '../../core/replicas.ts';
import { isNoNamespace } from '../../kubernetes/faults/api-refusals.ts';
import type { ProcessStatus } from '../runtime.ts';
import type { Drift } from './drift/drift.ts';
import type { LostNamespaces } from './drift/lost-namespaces.ts';
import { podMemory } from './pods/pod-memory.ts';
import { type StatusParts, toolStatus, withNotes } from './pods/pod-status.ts';
import type { LiveRollouts } from './rollout/live-rollouts.ts';
import { deploymentsOf } from './rollout-objects.ts';
import { scheduleStatuses } from './schedules/schedule-status.ts';
import type { ScheduledEnds } from './schedules/scheduled-ends.ts';
import { cronJobsOf } from './schedules/schedules.ts';

/** The objects that `processStatuses` asks. Each knows a part of the status of a tool's processes. */
export interface Observers {
  readonly live: LiveRollouts;
  readonly drift: Drift;
  readonly lost: LostNamespaces;
  readonly ends: ScheduledEnds;
}

/**
 * Returns the status of each process of a tool, including scheduled processes but not one-off commands.
 *
 * @throws DeployError if the API refuses the call or does not answer, or if this server stops.
 */
export async function processStatuses(
  observers: Observers,
  tool: ToolName,
  namespace: string,
): Promise<ProcessStatus[]> {
  const { live, drift, ends } = observers;
  const { config, pods: known } = live.parts;
  const [{ deployments, schedules }, memory] = await Promise.all([
    objectsOf(observers, tool, namespace),
    podMemory(live.parts.cluster, tool, namespace),
  ]);
  const all = known.of(tool).filter(({ type }) => type !== RELEASE_TYPE);
  const pods = all.filter(({ isScheduled }) => !isScheduled);
  const ofStatus: StatusParts = {
    runMemory: config.run_memory,
    memoryOf: ({ podName }) => memory.get(podName) ?? null,
    release: (id) => live.releaseOf(id),
    isDraining: (id) => live.isRetiring(id),
  };
  const lastRun = (type: string) => ends.last(tool, type);
  const isPaused = (type: string) => ends.isPaused(tool, type);
  const statuses = [
    ...toolStatus(pods, deployments, ofStatus),
    ...scheduleStatuses(schedules, all, { ...ofStatus, lastRun, isPaused }),
  ];
  return withNotes(statuses, live.of(tool), drift.notes(tool));
}

/**
 * Lists the tool's Deployments and CronJobs. Both lists are empty if the namespace is missing, or if it was created
 * again and the live release has not been started in it yet.
 */
async function objectsOf(
  { live, lost }: Observers,
  tool: ToolName,
  namespace: string,
): Promise<{ readonly deployments: V1Deployment[]; readonly schedules: V1CronJob[] }> {
  const { parts } = live;
  const none = { deployments: [], schedules: [] };
  if (lost.of(tool) !== null) return none;
  try {
    const [deployments, schedules] = await Promise.all([
      deploymentsOf(parts, tool, namespace, parts.closing),
      cronJobsOf(parts, tool, namespace, parts.closing),
    ]);
    // If the namespace is missing, a server with rights in all namespaces gets empty lists and no error. So find out
    // whether the namespace exists.
    if (deployments.length + schedules.length === 0 && live.of(tool) !== null) await lost.look(tool);
    return { deployments, schedules };
  } catch (error) {
    const why = await lost.explain(tool, error);
    if (isNoNamespace(why)) return none;
    throw why;
  }
}
