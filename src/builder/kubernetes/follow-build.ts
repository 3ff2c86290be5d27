import { parse } from 'smol-toml';
import { z } from 'zod';
import { logFailure } from '../../core/log/alarms.ts';
import type { Log } from '../../core/log/log.ts';
import { masking } from '../../core/masking/masking.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import type { BuildLimits } from '../build-limits.ts';
import { type BuildRequest, BuildResumesLater, ResumeLater } from '../builder.ts';
import type { PreparedSource } from '../source/prepared-source.ts';
import { selectorOf } from './job/build-names.ts';
import { BuildPod } from './job/build-pod.ts';
import { deleteJob } from './job/job-objects.ts';
import type { FollowedJob } from './job/plan-job.ts';
import { sayWaiting } from './job/quota-wait.ts';
import type { KubernetesBuilderConfig } from './kubernetes-builder-config.ts';
import { BuildNarrator } from './output/build-narrator.ts';
import { followPhases } from './output/follow-phases.ts';

const report = z.object({ image: z.object({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) }) });
/** How many milliseconds it may take to delete the Job of a build that ended. */
const CLEANING_MS = 30_000;

export interface Following {
  readonly cluster: Cluster;
  readonly config: KubernetesBuilderConfig;
  readonly log: Log;
  /** How many milliseconds a build waits for the end of a fault that can pass by itself, such as a full node. */
  readonly patienceMs: number;
  /**
   * A build may wait for room in its namespace's quota only until it has used this many milliseconds of `build_time`.
   */
  readonly roomMs: number;
  readonly request: BuildRequest;
  readonly source: PreparedSource;
  readonly progress: Progress;
  readonly guard: BuildLimits;
  readonly job: FollowedJob;
  /** Creates the Job. Null if an earlier server created the Job and the build has fetched its source. */
  readonly begin: (() => Promise<void>) | null;
  /**
   * Makes the artifact from the image's digest. The Job is deleted only afterwards, so that until then another server
   * can resume the build.
   */
  readonly finish: (digest: string) => Promise<Artifact>;
  /** Deletes the image of a failed build, if the image has reached the registry. */
  readonly removeImage: () => Promise<void>;
}

/**
 * Creates the Job of a build, or finds the Job that an earlier server created. Follows it to its end and returns the
 * artifact. Then deletes the Job, unless the next server resumes the build.
 *
 * @throws DeployError if the build fails.
 * @throws BuildResumesLater if this server is being stopped (`ResumeLater`) and the build has fetched its source.
 */
export async function followBuild(following: Following): Promise<Artifact> {
  const { cluster, config, log, request, progress, guard, source, job } = following;
  const { tool, id } = request;
  const place = { namespace: job.namespace, name: job.name, labels: selectorOf(tool, job.name) };
  await using pod = new BuildPod(cluster, place);
  const telling = new BuildNarrator({ progress, guard, source, config, job });
  const timesMs: Record<string, number> = {};
  const mask = await masking(request.configVars, job.name);
  let end: 'done' | 'ended' | 'handed over' = 'ended';
  try {
    await following.begin?.();
    await followPhases({
      cluster,
      namespace: job.namespace,
      pod,
      job,
      guard,
      mask,
      limits: job.limits,
      patienceMs: following.patienceMs,
      roomMs: following.roomMs,
      waiting: (words) => sayWaiting(progress, words),
      enter: (phase) => telling.enter(phase),
      line: (phase, text) => telling.line(phase, text),
      ended: (phase, containerEnd) => telling.ended(phase, containerEnd),
      timed: (phase, ms) => {
        timesMs[phase] = ms;
      },
    });
    const artifact = await following.finish(
      report.parse(parse(pod.endOf('export')?.message ?? '')).image.digest,
    );
    end = 'done';
    return artifact;
  } catch (error) {
    const hasSource = following.begin === null || pod.endOf('fetch')?.exitCode === 0;
    if (!(guard.signal.reason instanceof ResumeLater && hasSource)) throw error;
    end = 'handed over';
    throw new BuildResumesLater(id, { cause: error });
  } finally {
    log.info({ tool, build: id, timesMs }, `build ${end}`);
    if (end !== 'handed over') await removeJob(following, pod, end === 'done');
    if (end === 'ended' && telling.hasReached('export')) {
      // Only log that the image cannot be deleted: if this error were thrown, it would hide why the build failed.
      await following.removeImage().catch((error: unknown) =>
        logFailure(log, {
          error,
          message: 'cannot delete the image of a failed build',
          facts: { tool, build: id },
        }),
      );
    }
  }
}

/**
 * Creates the Job of an inspection, follows it to its end, and deletes it.
 *
 * @throws DeployError if a build would fail before its first buildpack runs.
 */
export async function followInspection(
  following: Omit<Following, 'finish' | 'removeImage' | 'begin'> & { readonly begin: () => Promise<void> },
): Promise<void> {
  const { cluster, config, request, progress, guard, source, job } = following;
  const labels = selectorOf(request.tool, job.name);
  await using pod = new BuildPod(cluster, { namespace: job.namespace, name: job.name, labels });
  const telling = new BuildNarrator({ progress, guard, source, config, job });
  const mask = await masking(request.configVars, job.name);
  try {
    await following.begin();
    await followPhases({
      ...{ cluster, namespace: job.namespace, pod, job, guard, mask, limits: job.limits },
      ...{ patienceMs: following.patienceMs, roomMs: following.roomMs },
      waiting: (words) => sayWaiting(progress, words),
      enter: (phase) => telling.enter(phase),
      line: (phase, text) => telling.line(phase, text),
      ended: (phase, end) => telling.ended(phase, end),
      timed: () => undefined,
    });
  } finally {
    await removeJob(following, pod, false);
  }
}

/**
 * Runs `work` and then disposes of `held`, such as the registry login of a build. Does not dispose of it if `work`
 * throws BuildResumesLater, because the build then continues without this server and still needs it.
 */
export async function untilItEnds<Result>(
  held: AsyncDisposable,
  work: () => Promise<Result>,
): Promise<Result> {
  let resumesLater = false;
  try {
    return await work();
  } catch (error) {
    resumesLater = error instanceof BuildResumesLater;
    throw error;
  } finally {
    if (!resumesLater) await held[Symbol.asyncDispose]();
  }
}

/**
 * Deletes the Job. Unless the build succeeded (`isDone`), also waits until the pod of the Job is gone. Gives up after
 * 30 s. Never rejects.
 */
async function removeJob(
  { cluster, log, job }: Pick<Following, 'cluster' | 'log' | 'job'>,
  pod: BuildPod,
  isDone: boolean,
): Promise<void> {
  const signal = AbortSignal.timeout(CLEANING_MS);
  try {
    await deleteJob(cluster, job.namespace, job.name, signal);
    if (!isDone && pod.name !== null) await pod.until(() => pod.isGone, signal);
  } catch (error) {
    // Only log that the Job cannot be deleted: if this error were thrown, it would hide why the build ended.
    logNotRemoved(log, error, { job: job.name });
  }
}

/** Logs that a Job was not deleted. The cluster deletes a Job an hour after it has ended. */
export function logNotRemoved(log: Log, error: unknown, facts: object): void {
  logFailure(log, { error, message: 'build not removed from the cluster', facts });
}
