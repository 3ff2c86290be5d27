import type { V1CronJob } from '@kubernetes/client-node';
import { type ScheduledProcess, scheduledIn } from '../../../core/replicas.ts';
import { START_DEADLINE_MS } from '../../../core/schedule.ts';
import type { Applied } from '../../../kubernetes/apply.ts';
import { runLimit } from '../../words/schedule-words.ts';
import { cronJobName, SCHEDULE } from './object-names.ts';
import { podTemplate, scheduledLabels } from './pod-manifest.ts';
import type { ReleaseOptions } from './rollout-manifests.ts';

/** How many seconds the cluster keeps the Job of a finished run, unless the Job of a newer run replaces it. */
const KEPT_SECONDS = 86_400;

/** Returns the CronJobs of a release. They replace the CronJobs of the previous release. */
export function cronJobs(options: ReleaseOptions): Applied<V1CronJob>[] {
  return scheduledIn(options.rollout.release).map((process) => cronJob(options, process));
}

/**
 * Returns the CronJob of a scheduled process. As in Toolforge's jobs, the schedule starts no run while the previous
 * run has not ended. The schedule also leaves out a run that would begin more than `START_DEADLINE_MS` late.
 */
function cronJob(
  { rollout, toolNumber, config }: ReleaseOptions,
  process: ScheduledProcess,
): Applied<V1CronJob> {
  const { namespace, release } = rollout;
  const { schedule, type } = process;
  const labels = scheduledLabels(rollout, type);
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: {
      name: cronJobName(type, rollout),
      namespace,
      labels,
      annotations: {
        [SCHEDULE]: schedule.text,
        'push.toolforge.org/description': release.description,
        'push.toolforge.org/by': release.by,
      },
    },
    spec: {
      schedule: schedule.cron,
      timeZone: 'Etc/UTC',
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: START_DEADLINE_MS / 1000,
      suspend: rollout.isPaused?.(type) === true,
      successfulJobsHistoryLimit: 1,
      failedJobsHistoryLimit: 1,
      jobTemplate: {
        metadata: { labels },
        spec: {
          backoffLimit: schedule.retry,
          activeDeadlineSeconds: Math.ceil(runLimit(schedule, config.schedule_time) / 1000),
          ttlSecondsAfterFinished: KEPT_SECONDS,
          template: podTemplate({ rollout, process, toolNumber, config }, 'Never'),
        },
      },
    },
  };
}
