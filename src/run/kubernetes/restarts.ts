import { RELEASE_TYPE } from '../../core/replicas.ts';
import { exitWords } from '../exit-words.ts';
import { exitOf, pauseWords } from './exit.ts';
import type { ToolPod } from './pods.ts';

export interface RestartsOptions {
  /** Whether the rollout has got the traffic: before, the push itself tells. */
  readonly isLive: (pod: ToolPod) => boolean;
  readonly memoryBytes: (pod: ToolPod) => number;
  readonly say: (tool: string, text: string) => void;
}

/** Says in a tool's log that a process has ended by itself, once for each time. */
export class Restarts {
  readonly #options: RestartsOptions;
  /** By pod: the container whose end was told. */
  readonly #told = new Map<string, string>();

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  /** @param isOld - What was so before this server has been told by another. */
  pod(pod: ToolPod, isOld: boolean): void {
    if (pod.isLeaving) {
      this.#told.delete(pod.uid);
      return;
    }
    const { state, lastState } = pod.container ?? {};
    // While it is neither running nor waiting, the node has not said how long it will wait.
    const end = state?.terminated === undefined ? lastState?.terminated : undefined;
    const id = end?.containerID;
    if (end === undefined || id === undefined || this.#told.get(pod.uid) === id) return;
    this.#told.set(pod.uid, id);
    if (isOld || pod.type === RELEASE_TYPE || !this.#options.isLive(pod)) return;
    const words = exitWords(exitOf(end), this.#options.memoryBytes(pod));
    this.#options.say(pod.tool, `${pod.name} ${words}; starting again in ${pauseWords(pod.container)}`);
  }
}
