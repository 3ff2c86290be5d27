import { DeployError } from '../../../core/errors.ts';
import { masking } from '../../../core/masking/masking.ts';
import type { Progress } from '../../../core/progress.ts';
import type { Process } from '../../../core/types.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { type PodFault, PUSH_AGAIN, podFault } from '../../../kubernetes/faults/pod-faults.ts';
import type { Seen } from '../../health/health-check.ts';
import { SCRIPT_HINT } from '../../health/script-check.ts';
import { settingsOf } from '../../service-limits.ts';
import { notHealthy, startedWords } from '../../words/rollout-words.ts';
import type { ManifestConfig } from '../manifests/manifest-config.ts';
import { objectName, type Rollout } from '../manifests/object-names.ts';
import { lastEnd } from '../pods/container-exit.ts';
import { type CrashParts, crashOf, faultError, showLastLines } from '../pods/crash-report.ts';
import type { NamespaceEvents } from '../pods/namespace-events.ts';
import { OtherPorts } from '../pods/other-ports.ts';
import { PodProbe, type ProbeResult } from '../pods/probe-pod.ts';
import type { ToolPod, ToolPods } from '../pods/tool-pods.ts';

export interface InstanceParts {
  readonly cluster: Cluster;
  readonly pods: ToolPods;
  readonly events: NamespaceEvents;
  readonly config: ManifestConfig;
}

export interface Instance {
  readonly rollout: Rollout;
  readonly process: Process;
  /** The name of the process, such as `web.1`. */
  readonly name: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

// How many milliseconds the server waits for a fault of a pod to pass by itself, by the code of the fault. The server
// does not wait for a fault whose code is missing here.
const PATIENCE: Partial<Record<PodFault['code'], number>> = {
  IMAGE_PULL: 15_000,
  UNSCHEDULABLE: 20_000,
  BAD_CONTAINER: 20_000,
};
const REFUSED_MS = 3000;
const TICK_MS = 200;
const LOOK_MS = 500;
const FIRST_SEEN_MS = 5000;
const SEEN_AGAIN_MS = 30_000;
// If a process does not listen on PORT for `OTHERS_AFTER_MS`, the server sends requests to other ports too. If the
// process then listens on one of these ports for `ELSEWHERE_MS`, but not on PORT, its start has failed. Both times
// together are 15 s, as in the local runtime.
const OTHERS_AFTER_MS = 5000;
const ELSEWHERE_MS = 10_000;
const MAX_PROBE_CHARACTERS = 200;
const PROBE_HINT =
  'The cluster asks the health check path again and again. The tool must answer within 10 s each time.';

/**
 * Waits until the pod of one process of a rollout is healthy, and tells the client of the deployment what happens
 * meanwhile.
 */
export class InstanceStart {
  readonly #parts: InstanceParts;
  readonly #instance: Instance;
  readonly #startedAt = performance.now();
  #runningSince: number | null = null;
  #faultSince: number | null = null;
  readonly #others: OtherPorts;
  #look: ProbeResult | null = null;
  #looks: PodProbe | null = null;
  #looking: Promise<void> | null = null;
  #lookedAt = 0;
  #told = { text: '', at: performance.now() };
  #mask: (text: string) => string = () => '';

  constructor(parts: InstanceParts, instance: Instance) {
    this.#parts = parts;
    this.#instance = instance;
    const { rollout, process, signal } = instance;
    this.#others = new OtherPorts({ cluster: parts.cluster, release: rollout.release, process, signal });
  }

  /**
   * Waits until the pod is healthy.
   *
   * @throws DeployError that says why the pod is not healthy; the signal's reason when the signal fires.
   */
  async untilHealthy(): Promise<void> {
    const { pods } = this.#parts;
    const { rollout, name, signal, progress, process } = this.#instance;
    this.#mask = await masking(rollout.release.configVars, rollout.namespace);
    for (;;) {
      const pod = pods.ofRollout(rollout).find((one) => one.name === name && !one.isTerminating) ?? null;
      if (pod === null) this.#assertComes();
      else if (await this.#isHealthy(pod)) break;
      this.#assertInTime(pod);
      await pods.change(TICK_MS, signal);
    }
    progress.line(startedWords({ name, type: process.type }, this.#startedAt, this.#remark));
  }

  async #isHealthy(pod: ToolPod): Promise<boolean> {
    if (lastEnd(pod.container) !== null) throw await crashOf(this.#crashParts, pod);
    this.#assertNoFault(pod);
    if (pod.container?.state?.running === undefined) {
      if (this.#faultSince === null) {
        this.#tell(`${this.#instance.name}: the cluster has not started its container yet`);
      }
      return false;
    }
    this.#runningSince ??= performance.now();
    if (this.#instance.process.type !== 'web') {
      if (!pod.isReady) await this.#assertHealthyInTime(pod);
      return pod.isReady && performance.now() - this.#runningSince > this.#parts.config.settle_time;
    }
    const look = this.#look?.kind;
    if (pod.isReady && (look === 'healthy' || look === 'unknown')) return true;
    this.#lookNow(pod);
    const seen = this.#seen(pod);
    if (seen !== null) this.#tell(seen.soFar);
    await this.#assertHealthyInTime(pod);
    return false;
  }

  #lookNow(pod: ToolPod): void {
    if (this.#looking !== null || performance.now() - this.#lookedAt < LOOK_MS) return;
    this.#lookedAt = performance.now();
    this.#looking = this.#lookAt(pod)
      // Ignore an error of the API server, because the next check of the pod may succeed.
      .catch(() => {})
      .finally(() => {
        this.#looking = null;
      });
  }

  async #lookAt(pod: ToolPod): Promise<void> {
    const { rollout, signal } = this.#instance;
    const { cluster, config } = this.#parts;
    if (this.#looks?.podUid !== pod.uid) {
      const { release } = rollout;
      const answerMs = Math.max(1, Math.ceil(config.health_time - this.#runningMs()));
      this.#looks = new PodProbe({ cluster, release, podUid: pod.uid, answerMs, signal });
    }
    const look = await this.#looks.look(pod);
    // The time limit may end the last request to the pod too early. Then keep the result of the request before it,
    // which says more.
    const isIll = this.#look?.kind === 'not-yet';
    if (this.#look === null || !(this.#looks.wasCutShort || (this.#looks.isOver && isIll))) this.#look = look;
    if (this.#look.kind !== 'no-port') this.#others.forget();
    else if (this.#runningMs() >= OTHERS_AFTER_MS) await this.#others.look(pod);
  }

  #seen(pod: ToolPod): Seen | null {
    switch (this.#look?.kind) {
      case 'not-yet':
        return this.#look.seen;
      case 'no-port':
        return this.#others.seenOf(pod);
      case undefined:
        return this.#instance.process.type === 'web' ? null : this.#probeFails(pod);
      default:
        return this.#probeFails(pod);
    }
  }

  /** Returns a remark for people about a process that counts as healthy. Null if there is nothing to say. */
  get #remark(): string | null {
    if (this.#look?.kind === 'healthy') return this.#look.remark;
    return this.#look?.kind === 'unknown' ? `not checked: ${this.#look.why}` : null;
  }

  #runningMs(): number {
    return this.#runningSince === null ? 0 : performance.now() - this.#runningSince;
  }

  #tell(soFar: string): void {
    const quietMs = performance.now() - this.#told.at;
    if (quietMs <= (soFar === this.#told.text ? SEEN_AGAIN_MS : FIRST_SEEN_MS)) return;
    this.#instance.progress.line(soFar);
    this.#told = { text: soFar, at: performance.now() };
  }

  #assertComes(): void {
    const { rollout, process, name } = this.#instance;
    const refusal = this.#parts.events.refusalOf(objectName(process.type, rollout));
    if (refusal === null) this.#tell(`${name}: the cluster has not made its pod yet`);
    if (refusal === null || this.#othersLeave() || !this.#hasLasted(REFUSED_MS)) return;
    throw new DeployError(refusal.code, `${name} cannot be started: ${refusal.message}`, refusal.hint, {
      cause: refusal,
    });
  }

  #assertNoFault(pod: ToolPod): void {
    const fault = podFault(pod.pod, this.#parts.events.ofPod(pod.uid));
    if (fault === null) {
      this.#faultSince = null;
      return;
    }
    const error = faultError(this.#instance.name, fault);
    const isOver = !this.#othersLeave() && this.#hasLasted(PATIENCE[fault.code] ?? 0);
    if (!fault.mayPass || isOver) throw error;
    this.#tell(`${error.message}; the server waits a little for that to change`);
  }

  /**
   * True if older rollouts of the tool are ending. Their end frees resources, so a pod that finds no room may start
   * then.
   */
  #othersLeave(): boolean {
    const { release, id } = this.#instance.rollout;
    const others = this.#parts.pods
      .of(release.tool)
      .filter(({ rolloutId, isScheduled }) => rolloutId !== id && !isScheduled);
    return (
      others.some(({ isTerminating }) => isTerminating) ||
      new Set(others.map(({ rolloutId }) => rolloutId)).size > 1
    );
  }

  #hasLasted(ms: number): boolean {
    this.#faultSince ??= performance.now();
    return performance.now() - this.#faultSince >= ms;
  }

  /** Checks that the process has started in time. @throws DeployError if it has not started within `pod_start_time`. */
  #assertInTime(pod: ToolPod | null): void {
    const { pod_start_time } = this.#parts.config;
    if (this.#runningSince !== null || performance.now() - this.#startedAt < pod_start_time) return;
    const problem = pod === null ? 'got no pod' : 'was not started on its node';
    throw new DeployError(
      'ROLLOUT_TIMED_OUT',
      `${this.#instance.name} ${problem} within ${pod_start_time / 1000} s`,
      PUSH_AGAIN,
    );
  }

  async #assertHealthyInTime(pod: ToolPod): Promise<void> {
    const { health_time } = this.#parts.config;
    const isElsewhere = (this.#others.elsewhereMs ?? 0) >= ELSEWHERE_MS;
    if (!isElsewhere && this.#runningMs() < health_time) return;
    // If a request to the pod is still unanswered, wait until it is answered or given up: its result may say why the
    // process is not healthy.
    await this.#looking;
    const waitedMs = isElsewhere ? Math.min(this.#runningMs(), health_time) : health_time;
    if (this.#look?.kind === 'no-port') await this.#others.look(pod).catch(() => {});
    const lines = await showLastLines(this.#crashParts, pod, 'current');
    const seen = this.#seen(pod) ?? {
      message: `${this.#instance.name} did not become healthy`,
      hint: `The last output of the process is above. ${this.#wanted}`,
    };
    throw notHealthy(seen, Math.round(waitedMs / 1000) * 1000, lines);
  }

  /** What a process must do to be healthy, as a sentence. */
  get #wanted(): string {
    const { rollout, process } = this.#instance;
    if (process.type === 'web') return 'The process must answer on PORT in time.';
    return settingsOf(rollout.release, process.type).healthCheckScript === undefined
      ? 'The cluster must report its pod as ready in time.'
      : 'Its health_check_script must end with 0 in time.';
  }

  /** Explains that the process fails a probe of the cluster. Null if no event of the pod says so. */
  #probeFails({ name, uid }: ToolPod): Seen | null {
    const { rollout, process } = this.#instance;
    const said = this.#parts.events.ofPod(uid).findLast(({ reason }) => reason === 'Unhealthy')?.message;
    if (said === undefined) return null;
    // The kubelet quotes what a health check script prints, with line breaks. The message has one line, with config
    // vars masked.
    const quoted = this.#mask(said).trim().replaceAll(/\s+/g, ' ').slice(0, MAX_PROBE_CHARACTERS);
    const message = `${name} does not pass the cluster’s own check: ${quoted}`;
    const hasScript = settingsOf(rollout.release, process.type).healthCheckScript !== undefined;
    return { message, hint: hasScript ? SCRIPT_HINT : PROBE_HINT, soFar: message };
  }

  get #crashParts(): CrashParts {
    const { cluster, config } = this.#parts;
    const { rollout, progress } = this.#instance;
    return { cluster, config, release: rollout.release, progress };
  }
}
