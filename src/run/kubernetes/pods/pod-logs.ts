import { logFailure } from '../../../core/log/alarms.ts';
import type { Log } from '../../../core/log/log.ts';
import { RELEASE_TYPE } from '../../../core/replicas.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { type ContainerLine, followContainerLog } from '../../../kubernetes/container-log.ts';
import type { ToolLog } from '../../logs/tool-log.ts';
import type { LogLine } from '../../runtime.ts';
import { CONTAINER } from '../manifests/object-names.ts';
import type { ToolPod } from './tool-pods.ts';

export interface PodLogsOptions {
  readonly cluster: Cluster;
  readonly toolLog: (tool: string) => ToolLog;
  /** True if this server has started or resumed the pod's rollout. Pods of others may carry the same labels. */
  readonly isKnown: (pod: ToolPod) => boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** How long lines of a pod are gathered before they are written to the tool's log together, in milliseconds. */
const GATHER_MS = 20;
/**
 * How many characters of lines may wait until they are written, for example because the disk is slow. Each line counts
 * `LINE_CHARACTERS` more.
 */
const MAX_WAITING_CHARACTERS = 4 * 1024 * 1024;
const LINE_CHARACTERS = 100;
/**
 * How many of the newest lines of a process in the tool's log are read to find where an earlier server stopped copying
 * a pod's output.
 */
const LOOKED_AT = 1000;

/**
 * Copies the output of all tools' pods to the tools' logs. Follows each pod over its restarts until its end, except the
 * pods of test and release commands.
 */
export class PodLogs {
  readonly #options: PodLogsOptions;
  readonly #followed = new Map<string, Promise<void>>();
  /**
   * The ids of all pods that were ever followed. A node may report a pod again after its end, for example an evicted
   * pod. Then the lines that are in the tool's log already are not written again.
   */
  readonly #begun = new Set<string>();
  /** The ids of pods of scheduled runs: pods whose output is complete, but which still exist in the cluster. */
  readonly #over = new Set<string>();

  constructor(options: PodLogsOptions) {
    this.#options = options;
  }

  /**
   * Begins to follow the output of a pod.
   *
   * @param isOld - True if an earlier server may have followed the pod. Lines that are in the tool's log already are
   * not written again.
   */
  pod(pod: ToolPod, isOld: boolean): void {
    // Skip the pod of a test or release command, because `runReleaseJob` copies its output itself.
    if (pod.type === RELEASE_TYPE || this.#followed.has(pod.uid) || !this.#options.isKnown(pod)) return;
    if (this.#over.has(pod.uid)) return;
    const following = this.#follow(pod, isOld || this.#begun.has(pod.uid))
      .then(() => {
        if (pod.isScheduled) this.#over.add(pod.uid);
      })
      .catch((error: unknown) => {
        if (this.#options.signal.aborted) return;
        const facts = { tool: pod.tool, pod: pod.podName };
        logFailure(this.#options.log, { error, message: 'cannot follow the log of a pod', facts });
      })
      .finally(() => this.#followed.delete(pod.uid));
    this.#followed.set(pod.uid, following);
    this.#begun.add(pod.uid);
  }

  /** Resolves when the output of a pod has been copied to its end. Also resolves if copying failed. */
  async written(uid: string): Promise<void> {
    await this.#followed.get(uid);
  }

  gone(uid: string): void {
    this.#begun.delete(uid);
    this.#over.delete(uid);
  }

  async #follow(pod: ToolPod, isOld: boolean): Promise<void> {
    const { cluster, signal } = this.#options;
    const toolLog = this.#options.toolLog(pod.tool);
    const isNew = isOld ? await this.#after(toolLog, pod.name) : () => true;
    const lines = new LineGathering(toolLog, pod);
    const place = { namespace: pod.namespace, pod: pod.podName, container: CONTAINER };
    await followContainerLog(
      cluster,
      place,
      (line) => {
        if (isNew(line)) lines.add(line);
      },
      signal,
      () => lines.room(),
    );
    await lines.flush();
  }

  /**
   * Returns a function that tells whether a line of the pod is newer than the last line of the process in the tool's
   * log. If the log has N lines with the time of that last line, the pod's first N lines with this time count as old.
   * So no line is written twice.
   */
  async #after(toolLog: ToolLog, process: string): Promise<(line: ContainerLine) => boolean> {
    const query = { process, lines: LOOKED_AT, follow: false, signal: this.#options.signal };
    const written = (await Array.fromAsync(toolLog.read(query))).flat();
    const last = written.at(-1)?.at;
    if (last === undefined) return () => true;
    let same = written.filter(({ at }) => at === last).length;
    return ({ at }) => {
      if (at !== last) return at > last;
      same -= 1;
      return same < 0;
    };
  }
}

/** Gathers the log lines of one process and writes them to the tool's log together. */
export class LineGathering {
  readonly #toolLog: Pick<ToolLog, 'appendLines'>;
  readonly #pod: Pick<ToolPod, 'name' | 'version'>;
  #lines: LogLine[] = [];
  #timer: NodeJS.Timeout | null = null;
  #waitingCharacters = 0;

  constructor(toolLog: Pick<ToolLog, 'appendLines'>, pod: Pick<ToolPod, 'name' | 'version'>) {
    this.#toolLog = toolLog;
    this.#pod = pod;
  }

  add({ at, text }: ContainerLine): void {
    const { name: process, version } = this.#pod;
    this.#lines.push({ at, process, version, text });
    this.#waitingCharacters += text.length + LINE_CHARACTERS;
    this.#timer ??= setTimeout(() => void this.flush(), GATHER_MS);
  }

  /** Waits until at most `MAX_WAITING_CHARACTERS` of lines wait to be written to the tool's log. */
  async room(): Promise<void> {
    if (this.#waitingCharacters > MAX_WAITING_CHARACTERS) await this.flush();
  }

  /** Writes all gathered lines to the tool's log. Resolves when they are written. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const lines = this.#lines;
    this.#lines = [];
    await this.#toolLog.appendLines(lines);
    for (const { text } of lines) this.#waitingCharacters -= text.length + LINE_CHARACTERS;
  }
}
