import type { Progress } from '../../../core/progress.ts';
import { scheduledIn, stayingUp } from '../../../core/replicas.ts';
import type { Process } from '../../../core/types.ts';
import { scheduledWords } from '../../schedule-words.ts';
import { tooMuchMemory } from '../../service-limits.ts';
import { cronJobs } from '../manifests/cron-job-manifests.ts';
import type { Rollout } from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import { milliCores } from '../manifests/pod-resources.ts';
import { hasAddress, hostOf, replicaCount } from '../manifests/rollout-manifests.ts';
import { lastEnd } from '../pods/container-exit.ts';
import { crashOf } from '../pods/crash-report.ts';
import { eventWords, NamespaceEvents } from '../pods/namespace-events.ts';
import { ensureNamespace, makeRollout, type ObjectParts, removeRollout } from '../rollout-objects.ts';
import { assertSchedulable } from '../schedules/schedules.ts';
import { afterUndo } from './after-undo.ts';
import { type InstanceParts, InstanceStart } from './instance-start.ts';
import { prepareTraffic } from './service-traffic.ts';

export interface RolloutStart {
  readonly rollout: Rollout;
  readonly toolNumber: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** A process of a rollout that needs a pod. */
export interface WantedInstance {
  readonly process: Process;
  /** `web.1` */
  readonly name: string;
}

export type RolloutParts = ObjectParts & Pick<InstanceParts, 'config'>;

/**
 * Starts a rollout beside the running one, and waits until all its processes are healthy. If one is not, removes the
 * rollout.
 *
 * @throws DeployError that says why; AbortError when the signal fires.
 */
export async function startRollout(parts: RolloutParts, start: RolloutStart): Promise<void> {
  const { rollout, progress } = start;
  try {
    await startInstances(parts, start, {
      instances: instancesOf(rollout),
      make: async (signal) => {
        for (const text of unfulfilledInPods(rollout, parts.config)) progress.warn(text);
        await ensureNamespace(parts, rollout, signal);
        const schedules = cronJobs({ rollout, toolNumber: start.toolNumber, config: parts.config });
        await Promise.all([
          prepareTraffic(parts, rollout, signal),
          make(parts, start, signal),
          assertSchedulable(parts, schedules, signal),
        ]);
      },
    });
    for (const { type, schedule } of scheduledIn(rollout.release)) {
      progress.line(scheduledWords(`${labelValue(type)}.1`, schedule, Date.now()));
    }
  } catch (error) {
    await afterUndo(error, () => undoRollout(parts, rollout));
  }
}

/**
 * Calls `make` and waits until all `instances` are healthy. Does not check other pods.
 *
 * @throws as `startRollout`, with the first reason. The caller removes what was made.
 */
export async function startInstances(
  parts: RolloutParts,
  start: RolloutStart,
  {
    instances,
    make,
  }: { readonly instances: readonly WantedInstance[]; readonly make: (signal: AbortSignal) => Promise<void> },
): Promise<void> {
  const { rollout, progress, signal } = start;
  const failed = new AbortController();
  const whole = AbortSignal.any([signal, failed.signal]);
  const names = new Set(instances.map(({ name }) => name));
  const events = watchEvents(parts, start, names, whole);
  try {
    whole.throwIfAborted();
    await make(whole);
    const waits = instances.map(({ process, name }) =>
      new InstanceStart({ ...parts, events }, { rollout, process, name, progress, signal: whole })
        .untilHealthy()
        .catch((error: unknown) => {
          // This also aborts the others, so that the first error is reported.
          failed.abort(error);
          throw error;
        }),
    );
    await Promise.allSettled(waits);
    whole.throwIfAborted();
    await assertAllUp(parts, start, names);
  } catch (error) {
    throw failed.signal.aborted ? failed.signal.reason : error;
  } finally {
    failed.abort();
  }
}

/** Ends a rollout that never got traffic. Resolves when its pods are gone. */
export async function undoRollout(parts: ObjectParts, { namespace, id }: Rollout): Promise<void> {
  await removeRollout(parts, { namespace, rolloutId: id, how: 'now', types: null });
}

async function make(parts: RolloutParts, start: RolloutStart, signal: AbortSignal): Promise<void> {
  const { rollout, toolNumber } = start;
  await makeRollout(parts, { rollout, toolNumber, config: parts.config }, signal);
}

/** `web.1`, `web.2`, `worker.1` */
function instancesOf(rollout: Rollout): WantedInstance[] {
  return stayingUp(rollout.release).flatMap((process) =>
    Array.from({ length: replicaCount(rollout, process.type) }, (_, index) => ({
      process,
      name: `${labelValue(process.type)}.${index + 1}`,
    })),
  );
}

/** Shows the push the events of the pods with these names. */
function watchEvents(
  { cluster, pods }: RolloutParts,
  { rollout: { id, namespace }, progress }: RolloutStart,
  names: ReadonlySet<string>,
  signal: AbortSignal,
): NamespaceEvents {
  const events = new NamespaceEvents((event) => {
    const pod = pods.ofRollout({ id, namespace }).find(({ uid }) => uid === event.involvedObject.uid);
    const words = eventWords(event);
    if (pod !== undefined && names.has(pod.name) && words !== null) progress.line(`${pod.name} ${words}`);
  });
  events.watch(cluster, namespace, signal);
  return events;
}

/** Sentences about requests of service.template that exceed the operator's limits, and about this server's own host. */
function unfulfilledInPods({ release }: Rollout, config: RolloutParts['config']): string[] {
  const { run_memory, pod_cpu } = config;
  const { memoryBytes, cpuCores } = release.artifact.service;
  const sentences = tooMuchMemory(memoryBytes, run_memory);
  const hasWeb = stayingUp(release).some(({ type }) => type === 'web');
  if (hasWeb && !hasAddress(release.tool, config)) {
    const host = hostOf(release.tool, config);
    sentences.push(`${host} is the address of this server: the tool gets no web address.`);
  }
  if (cpuCores !== undefined && cpuCores * 1000 > milliCores(pod_cpu)) {
    const most = milliCores(pod_cpu) / 1000;
    sentences.push(
      `cpu of service.template asks for ${cpuCores}: a process gets at most ${most} here (pod_cpu).`,
    );
  }
  return sentences;
}

/** Fails if a process has ended while another was still starting. An ending pod may have the same name. */
async function assertAllUp(
  { cluster, config, pods }: RolloutParts,
  { rollout, progress }: RolloutStart,
  names: ReadonlySet<string>,
): Promise<void> {
  const ended = pods
    .ofRollout(rollout)
    .find(
      ({ name, isTerminating, container }) =>
        names.has(name) && !isTerminating && lastEnd(container) !== null,
    );
  if (ended !== undefined)
    throw await crashOf({ cluster, config, release: rollout.release, progress }, ended);
}
