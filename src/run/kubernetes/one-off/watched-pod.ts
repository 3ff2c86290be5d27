import type { V1ContainerState, V1Pod } from '@kubernetes/client-node';
import { untilAborted } from '../../../core/concurrency/until-aborted.ts';
import { DeployError } from '../../../core/errors.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { podFault } from '../../../kubernetes/faults/pod-faults.ts';
import { watchObjects } from '../../../kubernetes/watch.ts';
import type { Exit } from '../../../sandbox/sandbox.ts';
import { CONTAINER } from '../manifests/object-names.ts';
import { exitOf } from '../pods/container-exit.ts';
import { NamespaceEvents } from '../pods/namespace-events.ts';

/** Watches the pod of a one-off command from its start to its end. */
export class WatchedPod {
  readonly namespace: string;
  readonly name: string;
  readonly #events = new NamespaceEvents(() => this.#changed());
  #pod: V1Pod;
  #isGone = false;
  #failure: unknown = null;
  #change = Promise.withResolvers<void>();

  constructor(made: V1Pod) {
    this.#pod = made;
    this.namespace = made.metadata?.namespace ?? '';
    this.name = made.metadata?.name ?? '';
  }

  /** Begins to watch the pod and the events of its namespace, until the signal fires. */
  watch(cluster: Cluster, signal: AbortSignal): void {
    this.#events.watch(cluster, this.namespace, signal);
    watchObjects<V1Pod>(cluster, {
      path: `/api/v1/namespaces/${this.namespace}/pods`,
      labels: '',
      fields: `metadata.name=${this.name}`,
      signal,
      onState: (pod) => {
        this.#pod = pod;
        this.#changed();
      },
      onGone: (pod) => {
        this.#pod = pod;
        this.#isGone = true;
        this.#changed();
      },
    }).catch((error: unknown) => {
      this.#failure = error;
      this.#changed();
    });
  }

  /**
   * Resolves when the pod's container runs.
   *
   * @throws DeployError `ONE_OFF_FAILED` if the container cannot run or does not run within `timeoutMs`; the error of
   * the watch if it failed; the signal's reason when the signal fires.
   */
  async untilStarted(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.timeout(timeoutMs);
    for (;;) {
      signal.throwIfAborted();
      if (this.#failure !== null) throw this.#failure;
      const state = this.#state();
      if (state.running !== undefined) return;
      const fault = podFault(this.#pod, this.#events.ofPod(this.#pod.metadata?.uid ?? ''));
      const isHopeless = fault !== null && !fault.mayPass;
      if (isHopeless || (limit.aborted && fault !== null)) {
        throw new DeployError('ONE_OFF_FAILED', `the command ${fault.words}`, fault.hint);
      }
      if (limit.aborted || this.#isGone || state.terminated !== undefined) {
        const message = limit.aborted
          ? `the command was not started within ${timeoutMs / 1000} s`
          : 'the pod of the command ended before the command was started';
        throw new DeployError(
          'ONE_OFF_FAILED',
          message,
          'Run the command again; if it fails again, tell the operator.',
        );
      }
      await this.#next([signal, limit]);
    }
  }

  /**
   * Resolves when the pod's container has ended, the pod no longer exists, the watch has failed, or the signal fires.
   */
  async untilEnded(signal: AbortSignal): Promise<void> {
    while (!this.#hasEnded() && !signal.aborted) await this.#next([signal]);
  }

  /**
   * Returns how the command ended.
   *
   * @throws DeployError `ONE_OFF_FAILED` if the pod was evicted, lost its node or passed its deadline, if its container
   * could not be started, or if the cluster does not say how the command ended.
   */
  exit(): Exit {
    const { terminated } = this.#state();
    const fault = podFault(this.#pod);
    if (fault !== null && ['EVICTED', 'NODE_LOST', 'DEADLINE', 'BAD_CONTAINER'].includes(fault.code)) {
      throw new DeployError('ONE_OFF_FAILED', `the command ${fault.words}`, fault.hint);
    }
    if (terminated !== undefined) return exitOf(terminated);
    throw new DeployError(
      'ONE_OFF_FAILED',
      'the connection to the command was lost, or somebody has deleted its pod',
      'The command has ended. Check what the command has done so far, and run it again.',
    );
  }

  #hasEnded(): boolean {
    return this.#isGone || this.#failure !== null || this.#state().terminated !== undefined;
  }

  #state(): V1ContainerState {
    return this.#pod.status?.containerStatuses?.find(({ name }) => name === CONTAINER)?.state ?? {};
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  async #next(signals: readonly AbortSignal[]): Promise<void> {
    // If a signal fires, `untilAborted` rejects. Ignore this, because the callers check whether a signal has fired.
    await untilAborted(this.#change.promise, AbortSignal.any([...signals])).catch(() => {});
  }
}
