import type { V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import { untilAborted } from '../../../core/concurrency/until-aborted.ts';
import { alarm, calm } from '../../../core/log/alarms.ts';
import type { Log } from '../../../core/log/log.ts';
import type { ToolName } from '../../../core/names.ts';
import { partsOfPreview } from '../../../core/preview-names.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { unreachable } from '../../../kubernetes/retry.ts';
import { watchObjects } from '../../../kubernetes/watch.ts';
import {
  COMPONENT,
  CONTAINER,
  LABELS,
  MANAGED_BY,
  type PreviewOf,
  type Rollout,
  SCHEDULED,
} from '../manifests/object-names.ts';

/** The current state of a tool's pod. */
export interface ToolPod {
  readonly uid: string;
  readonly pod: V1Pod;
  readonly podName: string;
  readonly namespace: string;
  readonly tool: string;
  /** The process type, as `labelValue` writes it in a label. */
  readonly type: string;
  /** The name of the process, such as `web.1`. */
  readonly name: string;
  readonly version: number;
  readonly rolloutId: string;
  /** The status of the pod's container. Undefined until a node has accepted the pod. */
  readonly container: V1ContainerStatus | undefined;
  readonly isReady: boolean;
  readonly isTerminating: boolean;
  /**
   * When this server first saw that the pod is terminating, as `performance.now()` gives it. Null if the pod is not
   * terminating.
   */
  readonly terminatingSince: number | null;
  /** True if the pod belongs to a run of a scheduled process. Such a pod stays until its Job is deleted. */
  readonly isScheduled: boolean;
  /** True if the pod has ended for good. */
  readonly isOver: boolean;
}

const WAIT_MS = 1000;
/** The key of the alarm that is raised while the watch of pods fails: see alarms.ts. */
const WATCH = 'POD_WATCH';

export interface PodListener {
  /**
   * Called with each new state of a pod.
   *
   * @param isOld - True for the states in the first list of pods, which an earlier server may have seen already.
   */
  pod(pod: ToolPod, isOld: boolean): void;
  /** Called when the pod no longer exists. */
  gone?(uid: string): void;
}

/**
 * Knows the pods of all processes of tools in the cluster, by one watch. The pods of one-off commands are not among
 * them. Each pod gets a name such as `web.1`, with the lowest number that is free in its rollout and type.
 */
export class ToolPods {
  readonly #pods = new Map<string, ToolPod>();
  readonly #listeners = new Set<PodListener>();
  readonly #wakers = new Set<() => void>();
  readonly #prefix: string;
  readonly #previewOf: PreviewOf;
  #isListed = false;
  #failure: unknown = null;

  /**
   * @param prefix - The prefix of the namespaces of this server's tools. Pods in other namespaces are ignored: they may
   * belong to another server.
   */
  constructor(prefix: string, previewOf: PreviewOf = () => null) {
    this.#prefix = prefix;
    this.#previewOf = previewOf;
  }

  /**
   * Waits until this server knows the existing pods.
   *
   * @param timeoutMs - The time limit. Infinity waits until the signal fires.
   * @throws DeployError `CLUSTER_UNREACHABLE` when the time is over; an error if this server may not watch pods; the
   * signal's reason when the signal fires.
   */
  async known(signal: AbortSignal, timeoutMs: number): Promise<void> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      if (this.#failure !== null) throw this.#failure;
      if (this.#isListed) return;
      if (performance.now() > end) throw unreachable(null);
      await this.change(WAIT_MS, signal);
    }
  }

  /**
   * Begins to watch the pods of all tools, until the signal fires. Continues even if the API refuses the watch for a
   * while.
   */
  watch(cluster: Cluster, log: Log, signal: AbortSignal): void {
    const onRefused = (error: unknown): void => {
      alarm(log, { key: WATCH, message: 'cannot watch the pods of tools', facts: { err: error } });
      this.#failure = error;
      this.#wake();
    };
    watchObjects<V1Pod>(cluster, {
      path: '/api/v1/pods',
      labels: `app.kubernetes.io/managed-by=${MANAGED_BY},${LABELS.process}`,
      signal,
      onState: (pod) => this.#set(pod),
      onGone: (pod) => this.#forget(pod),
      onListed: () => {
        this.#isListed = true;
        this.#failure = null;
        calm(log, [WATCH]);
        this.#wake();
      },
      onRefused,
    }).catch(onRefused);
  }

  listen(listener: PodListener): void {
    this.#listeners.add(listener);
  }

  of(tool: string): ToolPod[] {
    return [...this.#pods.values()].filter((pod) => pod.tool === tool);
  }

  /**
   * Returns the pods of a rollout. Compares the namespace too, because pods of another tool may carry the same labels.
   */
  ofRollout({ id, namespace }: Pick<Rollout, 'id' | 'namespace'>): ToolPod[] {
    return [...this.#pods.values()].filter((pod) => pod.rolloutId === id && pod.namespace === namespace);
  }

  /** Resolves at the next change of any pod, or after `waitMs`. Rejects when the signal fires. */
  async change(waitMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    this.#wakers.add(resolve);
    try {
      await untilAborted(promise, signal);
    } finally {
      clearTimeout(timer);
      this.#wakers.delete(resolve);
    }
  }

  #set(pod: V1Pod): void {
    const uid = pod.metadata?.uid ?? '';
    const toolPod = this.#describe(pod, this.#pods.get(uid) ?? null);
    if (toolPod === null) return;
    this.#pods.set(uid, toolPod);
    for (const listener of this.#listeners) listener.pod(toolPod, !this.#isListed);
    this.#wake();
  }

  #forget(pod: V1Pod): void {
    const uid = pod.metadata?.uid ?? '';
    this.#pods.delete(uid);
    for (const listener of this.#listeners) listener.gone?.(uid);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
  }

  #describe(pod: V1Pod, known: ToolPod | null): ToolPod | null {
    const {
      uid = '',
      labels = {},
      name: podName = '',
      namespace = '',
      deletionTimestamp,
    } = pod.metadata ?? {};
    const [tool, type, rolloutId] = [labels[LABELS.tool], labels[LABELS.process], labels[LABELS.rollout]];
    if (tool === undefined || type === undefined || rolloutId === undefined) return null;
    if (!this.#isPlaceOf(tool, namespace)) return null;
    const ready = pod.status?.conditions?.find(({ type: condition }) => condition === 'Ready');
    return {
      uid,
      pod,
      podName,
      namespace,
      tool,
      type,
      name: known?.name ?? this.#freeName({ id: rolloutId, namespace }, type),
      version: Number(labels[LABELS.version] ?? 0),
      rolloutId,
      container: pod.status?.containerStatuses?.find(({ name }) => name === CONTAINER),
      isReady: ready?.status === 'True' && deletionTimestamp === undefined,
      isTerminating: deletionTimestamp !== undefined,
      terminatingSince:
        deletionTimestamp === undefined ? null : (known?.terminatingSince ?? performance.now()),
      isScheduled: labels[COMPONENT] === SCHEDULED,
      isOver: pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed',
    };
  }

  /**
   * True if the pods of a tool are in this namespace: the tool's own namespace or, for a preview, the namespace of the
   * preview's tool.
   */
  #isPlaceOf(tool: string, namespace: string): boolean {
    const isOwn = namespace === `${this.#prefix}${tool}`;
    const whole = partsOfPreview(tool)?.tool;
    if (whole === undefined) return isOwn;
    const isWhole = namespace === `${this.#prefix}${whole}`;
    if (!isOwn && !isWhole) return false;
    const previewOf = this.#knownPreviewOf(tool as ToolName);
    // Before the store is open, this server does not know whether the tool is a preview, so both namespaces count.
    return previewOf === undefined || (previewOf === null ? isOwn : isWhole);
  }

  #knownPreviewOf(name: ToolName): ToolName | null | undefined {
    try {
      return this.#previewOf(name);
    } catch {
      // Ignore the error: the store is damaged, and other code reports this.
      return undefined;
    }
  }

  #freeName(rollout: Pick<Rollout, 'id' | 'namespace'>, type: string): string {
    const taken = new Set(
      this.ofRollout(rollout)
        .filter(({ isTerminating, isScheduled, isOver }) => !isTerminating && !(isScheduled && isOver))
        .map(({ name }) => name),
    );
    for (let number = 1; ; number += 1) if (!taken.has(`${type}.${number}`)) return `${type}.${number}`;
  }
}
