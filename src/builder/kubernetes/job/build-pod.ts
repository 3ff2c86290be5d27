import type { CoreV1Event, V1ContainerStatus, V1Job, V1Pod } from '@kubernetes/client-node';
import { untilAborted } from '../../../core/concurrency/until-aborted.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { creationFault, type PodFault, podFault } from '../../../kubernetes/faults/pod-faults.ts';
import { watchObjects } from '../../../kubernetes/watch.ts';

/** How a container of the build ended. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly isOutOfMemory: boolean;
  /** What the container wrote into /dev/termination-log. */
  readonly message: string;
}

/** Matches events that only repeat what the status of the pod says. */
const REPEATS_STATUS = /^Error: (ErrImagePull|ImagePullBackOff)$/;

interface Known {
  readonly pod?: V1Pod;
  readonly job?: V1Job;
  readonly isGone?: boolean;
  /** Whether the cluster has sent the first list of pods. */
  readonly isListed?: boolean;
}

interface Change extends Known {
  readonly event?: CoreV1Event;
}

interface Waiter {
  readonly look: () => boolean;
}

/**
 * Watches the Job of one build, its pod, and the warning events about both. This object may be created before the pod
 * exists. Dispose of it when the build has ended.
 */
export class BuildPod implements AsyncDisposable {
  readonly #ended = new AbortController();
  readonly #failed = new AbortController();
  readonly #watching: Promise<unknown>;
  readonly #waiters = new Set<Waiter>();
  readonly #events: CoreV1Event[] = [];
  #known: Known = {};

  constructor(
    cluster: Cluster,
    place: { readonly namespace: string; readonly name: string; readonly labels: string },
  ) {
    const signal = this.#ended.signal;
    const { namespace, name, labels } = place;
    const watches = [
      watchObjects<V1Pod>(cluster, {
        path: `/api/v1/namespaces/${namespace}/pods`,
        labels,
        signal,
        onState: (pod) => this.#learn({ pod }),
        onGone: () => this.#learn({ isGone: true }),
        onListed: () => this.#learn({ isListed: true }),
      }),
      watchObjects<V1Job>(cluster, {
        path: `/apis/batch/v1/namespaces/${namespace}/jobs`,
        labels,
        signal,
        onState: (job) => this.#learn({ job }),
      }),
      watchObjects<CoreV1Event>(cluster, {
        path: `/api/v1/namespaces/${namespace}/events`,
        labels: '',
        fields: 'type=Warning',
        signal,
        onState: (event) => {
          // Keeps the events of the Job and of its pod: the pod's name begins with the Job's name, which is in `name`.
          if (event.involvedObject.name?.startsWith(name)) this.#learn({ event });
        },
      }),
    ];
    this.#watching = Promise.all(watches).catch((error: unknown) => {
      this.#failed.abort(error);
    });
  }

  /** Fires if the cluster does not let this server watch pods, Jobs or events. The signal's reason is the error. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** The pod's name; null = there is no pod yet. */
  get name(): string | null {
    return this.#known.pod?.metadata?.name ?? null;
  }

  /** The fault that keeps the build from continuing. Null if no fault is known. Some faults pass by themselves. */
  get fault(): PodFault | null {
    const { pod, job, isListed = false } = this.#known;
    if (pod !== undefined) {
      return podFault(
        pod,
        this.#events.filter(
          ({ involvedObject, message = '' }) =>
            involvedObject.uid === pod.metadata?.uid && !REPEATS_STATUS.test(message),
        ),
      );
    }
    // Before the first list of pods arrives, a pod may exist that this server does not know. The fault of the pod would
    // say more than the fault of the Job, so report none until the list is there.
    if (!isListed) return null;
    const refused = this.#events.findLast(({ reason }) => reason === 'FailedCreate');
    if (refused !== undefined) return creationFault(refused.message ?? '');
    const failed = job?.status?.conditions?.find(
      ({ type, status }) => type === 'Failed' && status === 'True',
    );
    if (failed === undefined) return null;
    return { ...creationFault(failed.message ?? failed.reason ?? ''), mayPass: false };
  }

  /** Whether the container runs or has run. */
  hasStarted(container: string): boolean {
    const { state } = this.#status(container) ?? {};
    return Boolean(state?.running ?? state?.terminated);
  }

  /** How the container ended; null = not yet. */
  endOf(container: string): ContainerEnd | null {
    const ended = this.#status(container)?.state?.terminated;
    if (ended === undefined) return null;
    return {
      exitCode: ended.exitCode,
      isOutOfMemory: ended.reason === 'OOMKilled',
      message: ended.message ?? '',
    };
  }

  /** Whether the pod has ended or is gone. */
  get isOver(): boolean {
    const phase = this.#known.pod?.status?.phase;
    return this.isGone || phase === 'Failed' || phase === 'Succeeded';
  }

  /** Whether the pod is being deleted or is gone. */
  get isTerminating(): boolean {
    return this.isGone || this.#known.pod?.metadata?.deletionTimestamp !== undefined;
  }

  get isGone(): boolean {
    return this.#known.isGone === true;
  }

  /**
   * Resolves when `look` returns true. Calls `look` immediately, and again after each change of the pod, its Job or
   * their events. Rejects when `signal` fires, or if the cluster refuses to let this server watch them.
   */
  async until(look: () => boolean, signal: AbortSignal): Promise<void> {
    const any = AbortSignal.any([signal, this.#failed.signal]);
    any.throwIfAborted();
    if (look()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = {
      look: () => {
        const isReached = look();
        if (isReached) resolve();
        return isReached;
      },
    };
    this.#waiters.add(waiter);
    try {
      await untilAborted(promise, any);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#watching;
  }

  #status(container: string): V1ContainerStatus | undefined {
    const { initContainerStatuses = [], containerStatuses = [] } = this.#known.pod?.status ?? {};
    return [...initContainerStatuses, ...containerStatuses].find(({ name }) => name === container);
  }

  #learn({ event, ...change }: Change): void {
    if (event !== undefined) this.#events.push(event);
    this.#known = { ...this.#known, ...change };
    for (const waiter of [...this.#waiters]) waiter.look();
  }
}
