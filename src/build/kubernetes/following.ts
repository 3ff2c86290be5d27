import { parse } from 'smol-toml';
import { z } from 'zod';
import { logFailure } from '../../core/alarms.ts';
import type { Log } from '../../core/log.ts';
import { masking } from '../../core/masking.ts';
import type { Progress } from '../../core/progress.ts';
import type { Artifact } from '../../core/types.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import type { BuildGuard } from '../build-guard.ts';
import { BuildGoesOn, type BuildRequest, HandOver } from '../builder.ts';
import type { PreparedSource } from '../prepared-source.ts';
import { selectorOf } from './names.ts';
import { deleteJob } from './objects.ts';
import type { KubernetesBuilderConfig } from './options.ts';
import { followPhases } from './phases.ts';
import type { FollowedJob } from './plan.ts';
import { BuildPod } from './pod.ts';
import { BuildTelling } from './telling.ts';

const report = z.object({ image: z.object({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) }) });
/** For what is done when a build has ended, by whatever. */
const CLEANING_MS = 30_000;

export interface Following {
  readonly cluster: Cluster;
  readonly config: KubernetesBuilderConfig;
  readonly log: Log;
  /** How long a build waits for what may pass. */
  readonly patienceMs: number;
  /** Until when a build waits for room in the quota of its namespace, in milliseconds since it began. */
  readonly roomMs: number;
  readonly request: BuildRequest;
  readonly source: PreparedSource;
  readonly progress: Progress;
  readonly guard: BuildGuard;
  readonly job: FollowedJob;
  /** Makes the Job; null where it is there and has its source. */
  readonly begin: (() => Promise<void>) | null;
  /** From the digest of the image to what was built. The Job is there until then, for whoever must take it up. */
  readonly finish: (digest: string) => Promise<Artifact>;
  /** Of a build that failed, and may have got as far as the registry. */
  readonly removeImage: () => Promise<void>;
}

/**
 * Follows the Job of a build to what it made, from its beginning or from wherever it is. Nothing of it is left in the
 * cluster then, unless it is handed over to the next server.
 *
 * @throws DeployError; BuildGoesOn where the guard's signal fires with a HandOver and the Job has its source.
 */
export async function followBuild(following: Following): Promise<Artifact> {
  const { cluster, config, log, request, progress, guard, source, job } = following;
  const { tool, id } = request;
  const place = { namespace: job.namespace, name: job.name, labels: selectorOf(tool, job.name) };
  await using pod = new BuildPod(cluster, place);
  const telling = new BuildTelling({ progress, guard, source, config, job });
  const timesMs: Record<string, number> = {};
  const mask = await masking(request.configVars);
  let end: 'done' | 'ended' | 'handed over' = 'ended';
  try {
    await following.begin?.();
    await followPhases({
      cluster,
      namespace: job.namespace,
      pod,
      guard,
      mask,
      limits: job.limits,
      patienceMs: following.patienceMs,
      roomMs: following.roomMs,
      waiting: (words) => progress.line(`waiting: the build ${words}`),
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
    if (!(guard.signal.reason instanceof HandOver && hasSource)) throw error;
    end = 'handed over';
    throw new BuildGoesOn(id, { cause: error });
  } finally {
    log.info({ tool, build: id, timesMs }, `build ${end}`);
    if (end !== 'handed over') await removeJob(following, pod, end === 'done');
    if (end === 'ended' && telling.hasReached('export')) {
      // Why the build failed is what its push is told.
      await following
        .removeImage()
        .catch((error: unknown) =>
          logFailure(log, { error, message: 'image not removed', facts: { tool, build: id } }),
        );
    }
  }
}

/** Lets go of what a build needs when that has ended: not when it goes on without this server. */
export async function untilItEnds<Result>(
  held: AsyncDisposable,
  work: () => Promise<Result>,
): Promise<Result> {
  let goesOn = false;
  try {
    return await work();
  } catch (error) {
    goesOn = error instanceof BuildGoesOn;
    throw error;
  } finally {
    if (!goesOn) await held[Symbol.asyncDispose]();
  }
}

/** At once, and where it was cut short until nothing of it runs any more. */
async function removeJob({ cluster, log, job }: Following, pod: BuildPod, isDone: boolean): Promise<void> {
  const signal = AbortSignal.timeout(CLEANING_MS);
  try {
    await deleteJob(cluster, job.namespace, job.name, signal);
    if (!isDone && pod.name !== null) await pod.until(() => pod.isGone, signal);
  } catch (error) {
    // Why the build ended says more; the Job has its own end, after which the cluster deletes it.
    logNotRemoved(log, error, { job: job.name });
  }
}

/** The Job has its own end, after which the cluster deletes it. */
export function logNotRemoved(log: Log, error: unknown, facts: object): void {
  logFailure(log, { error, message: 'build not removed from the cluster', facts });
}
