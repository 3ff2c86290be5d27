import { allOrFirstError } from '../../../core/concurrency/all-or-first-error.ts';
import type { Progress } from '../../../core/progress.ts';
import { freeNames, scalable, scheduledIn } from '../../../core/replicas.ts';
import type { Process } from '../../../core/types.ts';
import { settingsOf, tooMuchMemory, typesThat } from '../../service-limits.ts';
import { scheduledWords } from '../../words/schedule-words.ts';
import { cronJobs } from '../manifests/cron-job-manifests.ts';
import type { ManifestConfig } from '../manifests/manifest-config.ts';
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
import { InstanceStart } from './instance-start.ts';
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
  /** The name of the process, such as `web.1`. */
  readonly name: string;
}

/**
 * Starts a rollout beside the running rollout, and waits until all its processes are healthy. If a process does not
 * become healthy, removes the new rollout.
 *
 * @throws DeployError that says why a process is not healthy; the signal's reason when the signal fires.
 */
export async function startRollout(parts: ObjectParts, start: RolloutStart): Promise<void> {
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
      const isPaused = rollout.isPaused?.(type) === true;
      progress.line(scheduledWords(`${labelValue(type)}.1`, schedule, { now: Date.now(), isPaused }));
    }
  } catch (error) {
    await afterUndo(error, () => undoRollout(parts, rollout));
  }
}

/**
 * Calls `make`, which creates objects in the cluster, and waits until all `instances` are healthy. Does not check other
 * pods.
 *
 * @throws DeployError about the first process that failed; the signal's reason when the signal fires. The caller
 * removes what `make` has created.
 */
export async function startInstances(
  parts: ObjectParts,
  start: RolloutStart,
  {
    instances,
    make,
  }: { readonly instances: readonly WantedInstance[]; readonly make: (signal: AbortSignal) => Promise<void> },
): Promise<void> {
  const { rollout, progress, signal } = start;
  const over = new AbortController();
  const names = new Set(instances.map(({ name }) => name));
  const events = watchEvents(parts, start, names, AbortSignal.any([signal, over.signal]));
  try {
    signal.throwIfAborted();
    await make(signal);
    await allOrFirstError(instances, signal, ({ process, name }, whole) =>
      new InstanceStart(
        { ...parts, events },
        { rollout, process, name, progress, signal: whole },
      ).untilHealthy(),
    );
    await assertAllUp(parts, start, names);
  } finally {
    over.abort();
  }
}

/** Ends a rollout that never got requests, and waits for the end of its pods as long as `removeRollout` does. */
export async function undoRollout(parts: ObjectParts, { namespace, id }: Rollout): Promise<void> {
  await removeRollout(parts, { namespace, rolloutId: id, how: 'now', types: null });
}

async function make(parts: ObjectParts, start: RolloutStart, signal: AbortSignal): Promise<void> {
  const { rollout, toolNumber } = start;
  await makeRollout(parts, { rollout, toolNumber, config: parts.config }, signal);
}

/** Lists the processes of a rollout that need a pod, such as `web.1`, `web.2` and `worker.1`. */
function instancesOf(rollout: Rollout): WantedInstance[] {
  return scalable(rollout.release).flatMap((process) =>
    freeNames(labelValue(process.type), new Set(), replicaCount(rollout, process.type)).map((name) => ({
      process,
      name,
    })),
  );
}

/**
 * Watches the events of the rollout's namespace. Shows the client of the deployment the events about the pods of the
 * processes in `names`.
 */
function watchEvents(
  { cluster, pods }: ObjectParts,
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

/**
 * Returns warnings for the client of the deployment: about settings of the tool that exceed the operator's limits, and
 * about a tool whose host is this server's own.
 */
function unfulfilledInPods({ release }: Rollout, config: ManifestConfig): string[] {
  const { run_memory, pod_cpu } = config;
  const sentences = tooMuchMemory(release, run_memory);
  const hasWeb = scalable(release).some(({ type }) => type === 'web');
  if (hasWeb && !hasAddress(release.tool, config)) {
    const host = hostOf(release.tool, config);
    sentences.push(`${host} is the address of this server, so the tool gets no web address.`);
  }
  const most = milliCores(pod_cpu) / 1000;
  const types = typesThat(release, ({ cpuCores = 0 }) => cpuCores > most);
  if (types.length > 0) {
    const asked = types.map((type) => `${type} ${settingsOf(release, type).cpuCores}`).join(', ');
    sentences.push(`The tool asks for more CPU than a process gets here, ${most} (pod_cpu): ${asked}.`);
  }
  return sentences;
}

/**
 * Throws an error if a process has ended while another process was still starting. Ignores terminating pods, because a
 * new pod may already have their name, such as `web.1`.
 */
async function assertAllUp(
  { cluster, config, pods }: ObjectParts,
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
