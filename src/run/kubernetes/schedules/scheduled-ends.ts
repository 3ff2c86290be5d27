import { START_DEADLINE_MS, timesDue } from '../../../core/schedule.ts';
import { took } from '../../../core/text/duration.ts';
import type { Schedule } from '../../../core/types.ts';
import { podFault } from '../../../kubernetes/faults/pod-faults.ts';
import type { ScheduledRun } from '../../runtime.ts';
import { ScheduledRuns, type ScheduleRecords } from '../../scheduled-runs.ts';
import { exitWords } from '../../words/exit-words.ts';
import { runLimit, tooLong } from '../../words/schedule-words.ts';
import { exitOf } from '../pods/container-exit.ts';
import type { ToolPod } from '../pods/tool-pods.ts';

export interface ScheduledEndsOptions {
  /** Returns the schedule of the pod's process. Null if the pod's rollout is unknown, or if no schedule is set. */
  readonly scheduleOf: (pod: ToolPod) => Schedule | null;
  /** The operator's time limit for a run, in milliseconds. */
  readonly mostMs: number;
  readonly memoryBytes: number;
  /** What the server keeps about schedules over its restarts. By default, nothing is recorded. */
  readonly records?: ScheduleRecords | undefined;
  readonly say: (pod: ToolPod, texts: readonly string[]) => void;
}

/**
 * A run whose pod the cluster deletes counts as ended by its time limit if it ended at most this many milliseconds
 * before the limit, or later. If the limit is below 10 s, half of the limit is used instead. This server counts the
 * limit from the creation of the pod, but the cluster counts it from the start of the Job, a little earlier.
 */
const APART_MS = 5000;

/** Writes the end of each scheduled run to the tool's log, once, and remembers the newest run of each process type. */
export class ScheduledEnds {
  readonly #options: ScheduledEndsOptions;
  readonly #runs: ScheduledRuns;
  /**
   * For each pod, by its uid: the schedule of its process. Kept here because the server may forget the pod's release
   * before the run ends.
   */
  readonly #schedules = new Map<string, Schedule>();
  readonly #told = new Set<string>();

  constructor(options: ScheduledEndsOptions) {
    this.#options = options;
    this.#runs = new ScheduledRuns(options.records);
  }

  /** Returns the newest run of a process type that this server has seen. Null if it has seen none. */
  last(tool: string, type: string): ScheduledRun | null {
    return this.#runs.last(tool, type);
  }

  isPaused(tool: string, type: string): boolean {
    return this.#runs.isPaused(tool, type);
  }

  /**
   * Records the state of a scheduled process's pod, and reports the end of its run.
   *
   * @param isOld - True if an earlier server may have reported this state already.
   */
  pod(pod: ToolPod, isOld: boolean): void {
    if (!pod.isScheduled) return;
    const schedule = this.#schedules.get(pod.uid) ?? this.#options.scheduleOf(pod);
    if (schedule !== null) this.#schedules.set(pod.uid, schedule);
    const run = runOf(pod, schedule, this.#options);
    const known = this.#runs.last(pod.tool, pod.type);
    if (known === null || run.startedAt >= known.startedAt) this.#runs.set(pod.tool, pod.type, run);
    if (run.endedAt === null || this.#told.has(pod.uid)) return;
    this.#told.add(pod.uid);
    if (isOld || schedule === null) return;
    const after = run.exitCode === null ? '' : ` after ${took(run.endedAt - run.startedAt)}`;
    const texts = [`${pod.name} ${run.detail}${after}`];
    const left = timesDue(schedule.cron, run.startedAt, run.endedAt - START_DEADLINE_MS);
    const times = left === 1 ? 'once' : `${left} times`;
    if (left > 0) texts.push(`${pod.name} was due ${times} while it ran, and was not started again`);
    this.#options.say(pod, texts);
  }

  gone(uid: string): void {
    this.#schedules.delete(uid);
    this.#told.delete(uid);
  }
}

/** Returns when the scheduled run of this pod began and ended, and how it ended. `endedAt` is null while it runs. */
function runOf(
  { pod, container, isTerminating, isOver }: ToolPod,
  schedule: Schedule | null,
  { mostMs, memoryBytes }: Pick<ScheduledEndsOptions, 'mostMs' | 'memoryBytes'>,
): ScheduledRun {
  const madeAt = timeOf(pod.metadata?.creationTimestamp) ?? 0;
  const { running, terminated: end } = container?.state ?? {};
  // The start time of a container that could not be started is in 1970. The run then counts from the pod's creation.
  const startedAt = Math.max(timeOf(running?.startedAt ?? end?.startedAt) ?? madeAt, madeAt);
  if (end === undefined && !isOver) return { startedAt, endedAt: null, exitCode: null, detail: null };
  const endedAt = timeOf(end?.finishedAt) ?? startedAt;
  const limitMs = schedule === null ? mostMs : runLimit(schedule, mostMs);
  // When the time limit of a Job is over, the cluster deletes its pod. So the run took too long if its pod is being
  // deleted at about that time.
  if (isTerminating && endedAt - madeAt > limitMs - Math.min(APART_MS, limitMs / 2)) {
    const words = schedule === null ? 'took too long and was ended' : tooLong(limitMs, schedule);
    return { startedAt, endedAt, exitCode: null, detail: words };
  }
  const fault = podFault(pod);
  const isEnd = fault === null || fault.code === 'EXITED' || fault.code === 'OUT_OF_MEMORY';
  if (end === undefined || !isEnd)
    return { startedAt, endedAt, exitCode: null, detail: fault?.words ?? 'was ended by the cluster' };
  const exit = exitOf(end);
  return { startedAt, endedAt, exitCode: exit.code, detail: exitWords(exit, memoryBytes) };
}

function timeOf(date: Date | undefined): number | null {
  return date === undefined || date === null ? null : new Date(date).getTime();
}
