import type { ToolName } from '../../../core/names.ts';
import { RELEASE_TYPE } from '../../../core/replicas.ts';
import type { Crash } from '../../runtime.ts';
import { exitWords } from '../../words/exit-words.ts';
import { endedAt, exitOf, pauseWords } from './container-exit.ts';
import type { ToolPod } from './tool-pods.ts';

export interface RestartsOptions {
  /** True if the pod's rollout is live. If it is not live yet, the deployment itself reports crashes. */
  readonly isLive: (pod: ToolPod) => boolean;
  readonly memoryBytes: (pod: ToolPod) => number;
  readonly say: (pod: ToolPod, text: string) => void;
  /** Called at each crash of a live process. Must not throw. */
  readonly onCrash: (crash: Crash) => void;
}

/** Reports each crash of a live process to the tool's log and to `onCrash`, once. */
export class Restarts {
  readonly #options: RestartsOptions;
  /** For each pod, by its uid: the id of the container whose end was reported last. */
  readonly #told = new Map<string, string>();

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  /**
   * Reports the newest crash of a pod's container, unless it has been reported.
   *
   * @param isOld - True if an earlier server may have reported this state already.
   */
  pod(pod: ToolPod, isOld: boolean): void {
    if (pod.isTerminating) {
      this.#told.delete(pod.uid);
      return;
    }
    const { state, lastState } = pod.container ?? {};
    // While the container's state is `terminated`, report nothing: the node has not yet announced how long it waits
    // before it starts the container again.
    const end = state?.terminated === undefined ? lastState?.terminated : undefined;
    const id = end?.containerID;
    if (end === undefined || id === undefined || this.#told.get(pod.uid) === id) return;
    this.#told.set(pod.uid, id);
    if (isOld || pod.type === RELEASE_TYPE || !this.#options.isLive(pod)) return;
    const words = exitWords(exitOf(end), this.#options.memoryBytes(pod));
    this.#options.say(pod, `${pod.name} ${words}; starting again in ${pauseWords(pod.container)}`);
    const { name: process, version } = pod;
    this.#options.onCrash({ tool: pod.tool as ToolName, version, process, at: endedAt(end), words });
  }
}
