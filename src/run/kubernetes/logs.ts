import { logFailure } from '../../core/alarms.ts';
import type { Log } from '../../core/log.ts';
import { RELEASE_TYPE } from '../../core/replicas.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { type ContainerLine, followContainerLog } from '../../kubernetes/container-log.ts';
import type { LogLine } from '../runtime.ts';
import type { ToolLog } from '../tool-log.ts';
import { CONTAINER } from './names.ts';
import type { ToolPod } from './pods.ts';

export interface PodLogsOptions {
  readonly cluster: Cluster;
  readonly toolLog: (tool: string) => ToolLog;
  /** Whether this server has started or adopted it: whoever may make pods in the namespace can label them so. */
  readonly isKnown: (pod: ToolPod) => boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** How long lines are gathered before they are written, in milliseconds. */
const GATHER_MS = 20;
/** How many of the newest lines are looked at for where an earlier server stopped. */
const LOOKED_AT = 1000;

/** Follows what the pods of tools print into the tools' logs, each pod once, over its restarts to its end. */
export class PodLogs {
  readonly #options: PodLogsOptions;
  readonly #followed = new Map<string, Promise<void>>();
  /** What was followed once. Of what its node tells again, as of an evicted pod, more may come. */
  readonly #begun = new Set<string>();
  /** What has printed its last and is still there. */
  readonly #over = new Set<string>();

  constructor(options: PodLogsOptions) {
    this.#options = options;
  }

  /** @param isOld - An earlier server may have followed it: what that one wrote is not written again. */
  pod(pod: ToolPod, isOld: boolean): void {
    // The release phase follows its own.
    if (pod.type === RELEASE_TYPE || this.#followed.has(pod.uid) || !this.#options.isKnown(pod)) return;
    if (this.#over.has(pod.uid)) return;
    const following = this.#follow(pod, isOld || this.#begun.has(pod.uid))
      .then(() => {
        if (pod.isScheduled) this.#over.add(pod.uid);
      })
      .catch((error: unknown) => {
        if (this.#options.signal.aborted) return;
        const facts = { tool: pod.tool, pod: pod.podName };
        logFailure(this.#options.log, { error, message: 'pod log not followed', facts });
      })
      .finally(() => this.#followed.delete(pod.uid));
    this.#followed.set(pod.uid, following);
    this.#begun.add(pod.uid);
  }

  /** Resolves when what a pod that has ended printed is in the log. */
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
    const lines = new LineGathering(toolLog, pod.name);
    const place = { namespace: pod.namespace, pod: pod.podName, container: CONTAINER };
    await followContainerLog(cluster, place, (line) => isNew(line) && lines.add(line), signal);
    await lines.flush();
  }

  /** Whether a line comes after the last one in the log; lines of the same millisecond are counted. */
  async #after(toolLog: ToolLog, process: string): Promise<(line: ContainerLine) => boolean> {
    const query = { process, lines: LOOKED_AT, follow: false, signal: this.#options.signal };
    const written = await Array.fromAsync(toolLog.read(query));
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

/** Lines of one process on their way to its log. */
export class LineGathering {
  readonly #toolLog: ToolLog;
  readonly #process: string;
  #lines: LogLine[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(toolLog: ToolLog, process: string) {
    this.#toolLog = toolLog;
    this.#process = process;
  }

  add({ at, text }: ContainerLine): void {
    this.#lines.push({ at, process: this.#process, text });
    this.#timer ??= setTimeout(() => void this.flush(), GATHER_MS);
  }

  /** Resolves when what was added is in the log. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const lines = this.#lines;
    this.#lines = [];
    await this.#toolLog.appendLines(lines);
  }
}
