import { setTimeout as sleep } from 'node:timers/promises';
import { outputTime } from '../../../core/fair-share/time-shares.ts';
import type { Mask } from '../../../core/masking/masking.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { followContainerLog } from '../../../kubernetes/container-log.ts';
import type { BuildLimits } from '../../build-limits.ts';
import { OutputLines } from '../../output-lines.ts';
import { type BuildJob, type Phase, phasesOf } from '../job/build-job.ts';
import type { BuildPod, ContainerEnd } from '../job/build-pod.ts';
import { buildGone, PHASE_WORDS, podFailed, ROOM_WORDS } from './job-failures.ts';

/** After a container has ended, the server waits at most this many milliseconds for the last lines of its log. */
const LAST_LINES_MS = 10_000;

export interface PhasesOptions {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly pod: BuildPod;
  readonly job: Pick<BuildJob, 'rebaseOf' | 'isInspection'>;
  readonly guard: BuildLimits;
  readonly mask: Mask;
  readonly limits: { readonly diskBytes: number; readonly memoryBytes: number };
  /**
   * How many milliseconds a build waits for the end of a fault that can pass by itself: a full node, or a registry that
   * does not answer.
   */
  readonly patienceMs: number;
  /**
   * A build may wait for room in its namespace's quota only until it has used this many milliseconds of `build_time`.
   */
  readonly roomMs: number;
  /**
   * Called once for a phase whose container cannot start yet because of a fault. The argument says what the fault is.
   */
  readonly waiting: (words: string) => void;
  /** Called with each line of each phase, in order. Secrets are masked. */
  readonly line: (phase: Phase, text: string) => void;
  /** Called when a phase begins. */
  readonly enter: (phase: Phase) => void;
  /** Called after all lines of a phase. Throws if the phase failed. */
  readonly ended: (phase: Phase, end: ContainerEnd) => void | Promise<void>;
  /** Called with how many milliseconds a phase took, including the wait until its container started. */
  readonly timed: (phase: Phase, ms: number) => void;
}

/**
 * Follows a build's containers in order, each from its first line to its last.
 *
 * @throws DeployError if the pod cannot continue; errors of `options.ended`; the reason of `guard.signal` if it fires.
 */
export async function followPhases(options: PhasesOptions): Promise<void> {
  for (const phase of phasesOf(options.job)) {
    const startedAt = performance.now();
    options.guard.enter(PHASE_WORDS[phase]);
    options.enter(phase);
    await untilStarted(phase, options);
    const end = await follow(phase, options);
    options.timed(phase, Math.round(performance.now() - startedAt));
    await options.ended(phase, end);
  }
}

async function follow(phase: Phase, options: PhasesOptions): Promise<ContainerEnd> {
  const { cluster, namespace, pod, guard, mask } = options;
  const lines = new OutputLines({
    mask: mask.steps,
    line: (text) => {
      if (!guard.signal.aborted) options.line(phase, text);
    },
  });
  // Aborting `given` ends both the reading of the container's log and the wait for the end of the container.
  const given = new AbortController();
  const signal = AbortSignal.any([guard.signal, given.signal]);
  const share = pod.name ?? '';
  const log = followContainerLog(
    cluster,
    // Each pod has its own share of the server's time for output. By default, all builds would have only one share,
    // because they run in one namespace.
    { namespace, pod: pod.name ?? '', container: phase, share },
    function* ({ text }) {
      const bytes = Buffer.from(`${text}\n`);
      yield* lines.write(bytes);
      if (phase === 'build') guard.hear(bytes.length);
    },
    signal,
  );
  const over = pod.until(() => pod.endOf(phase) !== null || pod.isOver, signal);
  try {
    await Promise.race([Promise.all([log, over]), over.then(() => sleep(LAST_LINES_MS, null, { signal }))]);
    // Stop reading the container's log, because it may never end: the node of an evicted pod may not serve it any more.
    given.abort();
    await log;
  } catch (error) {
    given.abort();
    await Promise.allSettled([log, over]);
    throw error;
  }
  await outputTime.runSteps(share, lines.end());
  guard.signal.throwIfAborted();
  const end = pod.endOf(phase);
  const whole = pod.fault;
  // A fault of the whole pod, such as an eviction, also ends the container. So throw this fault: it says more than the
  // exit status of the container.
  if (whole !== null && whole.container === null) throw podFailed(whole, PHASE_WORDS[phase], options.limits);
  if (end === null || (end.exitCode !== 0 && pod.isTerminating)) throw buildGone(PHASE_WORDS[phase]);
  return end;
}

/**
 * Waits until the container runs. If a fault that can pass by itself keeps the container from running, waits for the
 * end of the fault, and throws a DeployError if the fault lasts longer than `patienceMs` or `roomMs` allow. Also throws
 * one if the fault cannot pass by itself, or if the pod has ended.
 */
async function untilStarted(phase: Phase, options: PhasesOptions): Promise<void> {
  const { pod, guard } = options;
  let said = '';
  for (;;) {
    await pod.until(
      () => pod.hasStarted(phase) || pod.isOver || (pod.fault !== null && pod.fault.words !== said),
      guard.signal,
    );
    if (pod.hasStarted(phase)) return;
    const found = pod.fault;
    if (found !== null && !found.mayPass) throw podFailed(found, PHASE_WORDS[phase], options.limits);
    if (pod.isOver) throw buildGone(PHASE_WORDS[phase]);
    if (found === null) continue;
    if (said === '') options.waiting(found.words);
    said = found.words;
    const isFull = found.code === 'QUOTA';
    const patienceMs = isFull ? options.roomMs : options.patienceMs;
    const leftMs = isFull ? Math.max(0, patienceMs - guard.spentMs) : patienceMs;
    const patience = AbortSignal.timeout(Math.ceil(leftMs));
    if (isFull) guard.enter(ROOM_WORDS);
    try {
      await pod.until(
        () => pod.hasStarted(phase) || pod.isOver || pod.fault?.code !== found.code,
        AbortSignal.any([guard.signal, patience]),
      );
    } catch (error) {
      if (!patience.aborted || guard.signal.aborted) throw error;
      throw podFailed(pod.fault ?? found, PHASE_WORDS[phase], options.limits, patienceMs);
    }
    if (isFull) guard.enter(PHASE_WORDS[phase]);
  }
}
