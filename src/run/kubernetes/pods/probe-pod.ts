import { maskedLines, masking } from '../../../core/masking/masking.ts';
import type { Release } from '../../../core/types.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { lastLines } from '../../../kubernetes/container-log.ts';
import { judge, type Verdict } from '../../health/health-check.ts';
import { PatientQuestion } from '../../health/patient-question.ts';
import { CONTAINER } from '../manifests/object-names.ts';
import { webPort } from '../manifests/pod-manifest.ts';
import { askPod, type PodAnswer } from './ask-pod.ts';
import type { ToolPod } from './tool-pods.ts';

export type ProbeResult =
  | Verdict
  /** This server cannot send requests to the pod. `why` gives the reason. */
  | { readonly kind: 'unknown'; readonly why: string }
  /** No program in the pod listens on PORT. */
  | { readonly kind: 'no-port' };

export interface PodProbeOptions {
  readonly cluster: Cluster;
  readonly release: Release;
  readonly podUid: string;
  /**
   * How many milliseconds the server keeps asking the pod whether it is healthy. One answer may take the whole time.
   */
  readonly answerMs: number;
  readonly signal: AbortSignal;
}

const LINES_AGAIN_MS = 5000;
/** How many milliseconds a busy API server may need to report that nothing listens on the port of a pod. */
const MIN_LOOK_MS = 1500;

/**
 * Asks the web process of one pod whether it is healthy, as the local runtime does. The kubelet's probes decide when a
 * pod gets traffic, but they do not say what they saw. If the tool has no health check path, they also accept an open
 * port, although a forking server opens its port before it has loaded the tool.
 */
export class PodProbe {
  readonly podUid: string;
  readonly #options: PodProbeOptions;
  readonly #path: string | null;
  readonly #question: PatientQuestion<PodAnswer>;
  readonly #end: AbortSignal;
  #pod: ToolPod | null = null;
  /** True if the API server has reached the pod before: the pod has answered a request, or refused a connection. */
  #wasReached = false;
  #tookMs = 0;
  #lines: readonly string[] = [];
  #linesAt = Number.NEGATIVE_INFINITY;

  constructor(options: PodProbeOptions) {
    const { cluster, release, answerMs, signal } = options;
    this.#options = options;
    this.podUid = options.podUid;
    this.#path = release.artifact.service.healthCheckPath;
    const request = { port: webPort(release), path: this.#path ?? '/', answerMs };
    this.#end = AbortSignal.timeout(answerMs);
    this.#question = new PatientQuestion(
      (until) => askPod(cluster, this.#pod as ToolPod, request, until),
      AbortSignal.any([signal, this.#end]),
    );
  }

  /** True if the time limit for the pod's answers (`answerMs`) is over. */
  get isOver(): boolean {
    return this.#end.aborted;
  }

  /** True if the newest request to the pod began so shortly before the time limit that its result says nothing. */
  get wasCutShort(): boolean {
    return this.#end.aborted && this.#tookMs < MIN_LOOK_MS;
  }

  /**
   * Asks the pod once whether it is healthy. @throws the error of `askPod`, for example if the API server does not
   * answer.
   */
  async look(pod: ToolPod): Promise<ProbeResult> {
    this.#pod = pod;
    const lookedAt = performance.now();
    const answer = await this.#question.next();
    this.#tookMs = performance.now() - lookedAt;
    switch (answer) {
      case 'forbidden':
        return { kind: 'unknown', why: 'this server may not ask its pod (pods/proxy)' };
      case 'unreached':
        // If the pod is ready, the kubelet reaches its port. If the API server cannot reach the port, a network policy
        // blocks the API server.
        if (!this.#wasReached && pod.isReady)
          return { kind: 'unknown', why: 'the API server cannot reach its pod' };
        return await this.#judged(pod, 'too late');
      case 'refused':
        this.#wasReached = true;
        return { kind: 'no-port' };
      case 'too late':
      case 'late':
        return await this.#judged(pod, 'too late');
      default:
        this.#wasReached = true;
        return await this.#judged(pod, answer);
    }
  }

  async #judged(pod: ToolPod, answer: Parameters<typeof judge>[0]): Promise<Verdict> {
    const lines = typeof answer === 'number' ? [] : await this.#newestLines(pod);
    return judge(answer, {
      name: pod.name,
      insidePort: webPort(this.#options.release),
      path: this.#path,
      lines,
    });
  }

  /**
   * Returns the last lines of the pod's output. Config vars are masked, because the log of the deployment shows these
   * lines.
   */
  async #newestLines({ namespace, podName }: ToolPod): Promise<readonly string[]> {
    if (performance.now() - this.#linesAt < LINES_AGAIN_MS) return this.#lines;
    this.#linesAt = performance.now();
    const { cluster, release } = this.#options;
    const mask = await masking(release.configVars, namespace);
    const lines = await lastLines(cluster, { namespace, pod: podName, container: CONTAINER }, 'current');
    this.#lines = await maskedLines(lines, mask.steps, namespace);
    return this.#lines;
  }
}
