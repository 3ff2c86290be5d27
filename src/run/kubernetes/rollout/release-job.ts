import { DeployError } from '../../../core/errors.ts';
import { masking } from '../../../core/masking/masking.ts';
import { RELEASE_TYPE } from '../../../core/replicas.ts';
import type { Process } from '../../../core/types.ts';
import { applyObject } from '../../../kubernetes/apply.ts';
import { followContainerLog } from '../../../kubernetes/container-log.ts';
import { PUSH_AGAIN, podFault } from '../../../kubernetes/faults/pod-faults.ts';
import { retryRemoval } from '../../../kubernetes/retry.ts';
import type { Exit } from '../../../sandbox/sandbox.ts';
import type { ToolLog } from '../../logs/tool-log.ts';
import { limitedOutput } from '../../output-limit.ts';
import { phaseFailed, phaseTimedOut, releaseTimedOut, runReleaseCommand } from '../../release-command.ts';
import type { ReleasePhase } from '../../runtime.ts';
import { mostMemory } from '../../service-limits.ts';
import { CONTAINER, objectName, type Rollout } from '../manifests/object-names.ts';
import { configSecret, releaseJob } from '../manifests/rollout-manifests.ts';
import { exitOf, lastEnd } from '../pods/container-exit.ts';
import { NamespaceEvents } from '../pods/namespace-events.ts';
import { LineGathering } from '../pods/pod-logs.ts';
import type { ToolPod } from '../pods/tool-pods.ts';
import { ensureNamespace, type ObjectParts, removeRollout } from '../rollout-objects.ts';

/** The test or release command of one rollout. `process` has the type `release` for both. */
interface ReleaseCommand {
  readonly rollout: Rollout;
  readonly process: Process;
  readonly toolLog: ToolLog;
}

const TICK_MS = 200;
/**
 * After the command has ended, its output is read until it is complete, or until no line has come for this many
 * milliseconds. The rest of the output may never come: the server may have no right to read logs, or the pod's node may
 * be lost.
 */
const LAST_LINES_MS = 10_000;

/**
 * Runs the test or release command as a Job to its end. The output goes to the client of the deployment and to the
 * tool's log. In the end, this function removes the Job, its pod and its Secret, even if the command failed.
 *
 * @throws DeployError `TEST_FAILED` or `RELEASE_FAILED` if the command failed; `TEST_TIMED_OUT` or `RELEASE_TIMED_OUT`
 * if the command took too long or did not start in time; the cluster's refusal if the command could not be started; the
 * signal's reason when the signal fires.
 */
export async function runReleaseJob(
  parts: ObjectParts,
  command: ReleaseCommand,
  phase: ReleasePhase,
): Promise<void> {
  const { cluster, config } = parts;
  const { rollout, process } = command;
  const { step, progress, toolNumber, signal } = phase;
  signal.throwIfAborted();
  await runReleaseCommand(
    { step, progress, memoryBytes: mostMemory(rollout.release, config.run_memory) },
    async (show) => {
      const ended = new AbortController();
      try {
        await ensureNamespace(parts, rollout, signal);
        await applyObject(cluster, configSecret(rollout), { signal });
        const deadlineSeconds = Math.ceil((config.pod_start_time + config.release_time) / 1000);
        const job = releaseJob({ rollout, toolNumber, config }, process, deadlineSeconds);
        await applyObject(cluster, job, { signal });
        return await new ReleaseRun(parts, command, { ...phase, show }, ended.signal).untilEnded();
      } finally {
        ended.abort();
        await remove(parts, rollout, process.type);
      }
    },
  );
}

async function remove(parts: ObjectParts, rollout: Rollout, type: string): Promise<void> {
  const { cluster } = parts;
  const { namespace, id } = rollout;
  const name = objectName(type, rollout);
  await retryRemoval(() =>
    cluster.batch.deleteNamespacedJob({ name, namespace, propagationPolicy: 'Background' }),
  ).catch(() => {});
  await removeRollout(parts, { namespace, rolloutId: id, how: 'now', types: null });
}

/** A release phase, with the function that shows a line of the output. */
type ShownPhase = ReleasePhase & { readonly show: (line: string) => void };

/** Watches the pod, the output and the duration of one test or release command. */
class ReleaseRun {
  readonly #parts: ObjectParts;
  readonly #command: ReleaseCommand;
  readonly #phase: ShownPhase;
  readonly #events = new NamespaceEvents(() => {});
  readonly #startedAt = performance.now();
  readonly #reading = new AbortController();
  #output: Promise<void> | null = null;
  #lineAt = 0;
  #runningSince: number | null = null;

  constructor(parts: ObjectParts, command: ReleaseCommand, phase: ShownPhase, ended: AbortSignal) {
    this.#parts = parts;
    this.#command = command;
    this.#phase = phase;
    this.#events.watch(parts.cluster, command.rollout.namespace, ended);
  }

  async untilEnded(): Promise<Exit> {
    const { pods } = this.#parts;
    const { signal } = this.#phase;
    for (;;) {
      const pod = pods.ofRollout(this.#command.rollout).find(({ isTerminating }) => !isTerminating);
      if (pod === undefined) this.#assertMayCome();
      const exit = pod === undefined ? null : await this.#exitOf(pod);
      if (exit !== null) return exit;
      this.#assertInTime();
      await pods.change(TICK_MS, signal);
    }
  }

  /** Returns how the command ended. Null if it has not ended. @throws DeployError if the command cannot start. */
  async #exitOf(pod: ToolPod): Promise<Exit | null> {
    const { state } = pod.container ?? {};
    if (state?.running !== undefined || state?.terminated !== undefined) {
      this.#runningSince ??= performance.now();
      if (this.#output === null) {
        this.#output = this.#follow(pod);
        // If `#follow` rejects, `#restOfOutput` throws the error when the command has ended. Until then, nothing else
        // handles the rejection, and an unhandled rejection would end the server.
        this.#output.catch(() => {});
      }
    }
    const end = lastEnd(pod.container);
    const fault = podFault(pod.pod, this.#events.ofPod(pod.uid));
    if (end === null) {
      if (fault !== null && !fault.mayPass)
        throw new DeployError(
          phaseFailed(this.#phase.step),
          `the ${this.#phase.step} command ${fault.words}`,
          fault.hint,
        );
      return null;
    }
    await this.#restOfOutput();
    return exitOf(end);
  }

  async #restOfOutput(): Promise<void> {
    this.#lineAt = performance.now();
    const timer = setInterval(() => {
      if (performance.now() - this.#lineAt > LAST_LINES_MS) this.#reading.abort();
    }, TICK_MS).unref();
    try {
      await this.#output;
    } finally {
      clearInterval(timer);
    }
  }

  async #follow({ namespace, podName }: ToolPod): Promise<void> {
    const { cluster } = this.#parts;
    const { toolLog } = this.#command;
    const { step, release, show, signal } = this.#phase;
    const lines = new LineGathering(toolLog, { name: `${step}.1`, version: release.version });
    const mask = await masking(release.configVars, namespace);
    const tell = limitedOutput(show);
    const tellMasked = function* (text: string): Generator<void, void> {
      tell(yield* mask.steps(text));
    };
    const place = { namespace, pod: podName, container: CONTAINER };
    await followContainerLog(
      cluster,
      place,
      (line) => {
        lines.add(line);
        this.#lineAt = performance.now();
        return tellMasked(line.text);
      },
      AbortSignal.any([signal, this.#reading.signal]),
      () => lines.room(),
    );
    await lines.flush();
  }

  #assertMayCome(): void {
    const refusal = this.#events.refusalOf(objectName(RELEASE_TYPE, this.#command.rollout));
    if (refusal !== null) throw refusal;
  }

  #assertInTime(): void {
    const { release_time, pod_start_time } = this.#parts.config;
    const { step } = this.#phase;
    if (this.#runningSince === null) {
      if (performance.now() - this.#startedAt < pod_start_time) return;
      throw new DeployError(
        phaseTimedOut(step),
        `the ${step} command was not started within ${pod_start_time / 1000} s`,
        PUSH_AGAIN,
      );
    }
    if (performance.now() - this.#runningSince < release_time) return;
    throw releaseTimedOut(step, release_time);
  }
}
