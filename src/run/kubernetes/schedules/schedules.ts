import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { ApiException, PatchStrategy, type V1CronJob, type V1Job } from '@kubernetes/client-node';
import { DeployError } from '../../../core/errors.ts';
import { scheduledIn } from '../../../core/replicas.ts';
import { noSchedule } from '../../../core/schedule.ts';
import { type Applied, applyObject, FIELD_MANAGER } from '../../../kubernetes/apply.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { isNotFound } from '../../../kubernetes/faults/api-refusals.ts';
import { retrying } from '../../../kubernetes/retry.ts';
import { runUnderWay } from '../../words/schedule-words.ts';
import {
  COMPONENT,
  configName,
  cronJobName,
  LABELS,
  type Rollout,
  SCHEDULED,
  scheduledOf,
} from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import type { ToolPods } from '../pods/tool-pods.ts';

export interface ScheduleParts {
  readonly cluster: Cluster;
  readonly pods: ToolPods;
  /** Fires when this server stops. */
  readonly closing: AbortSignal;
}

const AGAIN_MS = 1000;
const LOOK_MS = 200;
const GONE_MS = 30_000;
const LEAVING_MS = 60_000;

/**
 * Lists the CronJobs that this server created for a tool, except those that are being deleted. The list is empty if
 * this server may not list CronJobs, because a server without this right has created none.
 */
export async function cronJobsOf(
  { cluster }: Pick<ScheduleParts, 'cluster'>,
  tool: string,
  namespace: string,
  signal: AbortSignal,
): Promise<V1CronJob[]> {
  const call = { namespace, labelSelector: scheduledOf(tool) };
  try {
    const { items } = await retrying(() => cluster.batch.listNamespacedCronJob(call), { signal });
    return items.filter(isStaying);
  } catch (error) {
    if (error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN') return [];
    throw error;
  }
}

/** True if every scheduled process of a rollout has its CronJob among `cronJobs`. */
export function areSet(cronJobs: readonly V1CronJob[], rollout: Rollout): boolean {
  return scheduledIn(rollout.release).every(({ type }) =>
    cronJobs.some(
      ({ metadata }) =>
        metadata?.name === cronJobName(type, rollout) && metadata.labels?.[LABELS.rollout] === rollout.id,
    ),
  );
}

/**
 * Checks by a server-side dry run that the cluster would accept these CronJobs. @throws DeployError if it would refuse
 * one.
 */
export async function assertSchedulable(
  { cluster }: Pick<ScheduleParts, 'cluster'>,
  cronJobs: readonly Applied<V1CronJob>[],
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(cronJobs.map((one) => applyObject(cluster, one, { signal, isDryRun: true })));
}

/** Creates or updates these CronJobs of a tool, and removes the tool's other CronJobs. Runs in progress continue. */
export async function setSchedules(
  parts: ScheduleParts,
  { tool, namespace }: { readonly tool: string; readonly namespace: string },
  cronJobs: readonly Applied<V1CronJob>[],
): Promise<void> {
  const { cluster, closing: signal } = parts;
  await Promise.all(cronJobs.map((one) => set(parts, one)));
  const names = new Set(cronJobs.map(({ metadata }) => metadata.name));
  const found = await cronJobsOf(parts, tool, namespace, signal);
  for (const { metadata } of found.filter((one) => !names.has(one.metadata?.name ?? ''))) {
    const labelSelector = `${scheduledOf(tool)},${LABELS.process}=${metadata?.labels?.[LABELS.process]}`;
    const { items } = await retrying(() => cluster.batch.listNamespacedJob({ namespace, labelSelector }), {
      signal,
    });
    const hasRunning = items.some(isRunning);
    await remove(parts, metadata?.name ?? '', namespace, hasRunning ? 'Orphan' : 'Background');
  }
}

/**
 * Starts a run of a scheduled process now: creates a Job from its CronJob, as `kubectl create job --from` does. The
 * policy `Forbid` of the CronJob does not count this Job, so a run that becomes due meanwhile starts beside this run.
 *
 * @throws DeployError `NO_SCHEDULE` if the tool has no CronJob of this process type; `RUN_UNDER_WAY` if a run of the
 * process has not ended; the cluster's refusal.
 */
export async function startRunNow(
  parts: ScheduleParts,
  { tool, namespace }: { readonly tool: string; readonly namespace: string },
  type: string,
): Promise<void> {
  const { cluster, pods, closing: signal } = parts;
  const found = await cronJobsOf(parts, tool, namespace, signal);
  const cronJob = found.find(({ metadata }) => metadata?.labels?.[LABELS.process] === labelValue(type));
  if (cronJob === undefined) throw noSchedule(tool, type);
  const isRun = (pod: { isScheduled: boolean; isOver: boolean; type: string }) =>
    pod.isScheduled && !pod.isOver && pod.type === labelValue(type);
  const labelSelector = `${scheduledOf(tool)},${LABELS.process}=${labelValue(type)}`;
  const jobs = await retrying(() => cluster.batch.listNamespacedJob({ namespace, labelSelector }), {
    signal,
  });
  if (pods.of(tool).some(isRun) || jobs.items.some(isRunning)) throw runUnderWay(`${labelValue(type)}.1`);
  // `applyObject` retries with the same Job, so a lost answer does not start a second run.
  await applyObject(cluster, jobFrom(cronJob), { signal });
}

/** Returns the Job for one run of a CronJob outside of its schedule. */
export function jobFrom({ metadata, spec }: V1CronJob): Applied<V1Job> {
  const { labels, annotations } = spec?.jobTemplate.metadata ?? {};
  const name = metadata?.name ?? '';
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: `${name}-${randomBytes(4).toString('hex')}`,
      namespace: metadata?.namespace ?? '',
      labels: { ...labels },
      annotations: { ...annotations, 'cronjob.kubernetes.io/instantiate': 'manual' },
      ownerReferences: [
        { apiVersion: 'batch/v1', kind: 'CronJob', name, uid: metadata?.uid ?? '', controller: true },
      ],
    },
    ...(spec?.jobTemplate.spec === undefined ? {} : { spec: spec.jobTemplate.spec }),
  };
}

/**
 * Removes the CronJobs of a tool and ends their runs. Resolves when the runs have ended, or after a minute: a pod on a
 * lost node stays until somebody deletes the node.
 */
export async function endSchedules(parts: ScheduleParts, tool: string, namespace: string): Promise<void> {
  const { cluster, pods, closing: signal } = parts;
  for (const { metadata } of await cronJobsOf(parts, tool, namespace, signal)) {
    await remove(parts, metadata?.name ?? '', namespace, 'Background');
  }
  const isThere = () => pods.of(tool).some(({ isScheduled }) => isScheduled);
  // Delete the Jobs of the runs by label, because a Job has no owner if its CronJob was removed during the run.
  const call = { namespace, labelSelector: scheduledOf(tool), propagationPolicy: 'Background' };
  for (const end = performance.now() + LEAVING_MS; isThere() && performance.now() < end; ) {
    await retrying(() => cluster.batch.deleteCollectionNamespacedJob(call), { signal });
    await pods.change(AGAIN_MS, signal);
  }
}

/**
 * Makes the Jobs of a rollout's running scheduled processes the owners of the Secret with the rollout's config vars.
 * The cluster then deletes the Secret together with the last of these Jobs. Does nothing if no scheduled process runs.
 *
 * @see https://kubernetes.io/docs/concepts/architecture/garbage-collection/
 */
export async function leaveConfigToRuns(
  { cluster }: Pick<ScheduleParts, 'cluster'>,
  namespace: string,
  rolloutId: string,
): Promise<void> {
  const labelSelector = `${LABELS.rollout}=${rolloutId},${COMPONENT}=${SCHEDULED}`;
  const { items } = await cluster.batch
    .listNamespacedJob({ namespace, labelSelector })
    .catch((error: unknown) => {
      // The role that lets this server create CronJobs also lets it list Jobs. So a server that may not list Jobs has
      // created no schedule, and nothing runs.
      if (error instanceof ApiException && error.code === 403) return { items: [] };
      throw error;
    });
  const [first, ...others] = items.filter(isRunning);
  if (first === undefined) return;
  const version = Number(first.metadata?.labels?.[LABELS.version]);
  const patch = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: configName({ release: { version }, id: rolloutId }),
      namespace,
      ownerReferences: [first, ...others].map(({ metadata }) => ({
        apiVersion: 'batch/v1',
        kind: 'Job',
        name: metadata?.name ?? '',
        uid: metadata?.uid ?? '',
      })),
      // Runs that have not ended need the Secret. The server deletes the objects of a rollout by this label, so remove
      // the label from the Secret.
      labels: { [LABELS.rollout]: null },
    },
  };
  await cluster.objects
    .patch(patch as object, undefined, undefined, FIELD_MANAGER, undefined, PatchStrategy.MergePatch)
    .catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
}

/**
 * Creates or updates a CronJob. A CronJob that is being deleted accepts the change and still disappears, so the change
 * is repeated until the CronJob stays. Throws an error if this takes more than 30 s.
 */
async function set({ cluster, closing: signal }: ScheduleParts, cronJob: Applied<V1CronJob>): Promise<void> {
  const end = performance.now() + GONE_MS;
  while (!isStaying(await applyObject(cluster, cronJob, { signal }))) {
    if (performance.now() > end)
      throw new Error(`the deleted CronJob ${cronJob.metadata.name} does not disappear`);
    await wait(LOOK_MS, null, { signal });
  }
}

/** False if the CronJob is being deleted. A CronJob that is being deleted starts no more runs. */
function isStaying({ metadata }: V1CronJob): boolean {
  return metadata?.deletionTimestamp === undefined;
}

function isRunning({ status }: V1Job): boolean {
  const conditions = status?.conditions ?? [];
  return !conditions.some(
    ({ type, status: is }) => is === 'True' && (type === 'Complete' || type === 'Failed'),
  );
}

async function remove(
  { cluster, closing: signal }: ScheduleParts,
  name: string,
  namespace: string,
  propagationPolicy: 'Orphan' | 'Background',
): Promise<void> {
  await retrying(() => cluster.batch.deleteNamespacedCronJob({ name, namespace, propagationPolicy }), {
    signal,
  }).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
}
