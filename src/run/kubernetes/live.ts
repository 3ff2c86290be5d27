import { setTimeout as wait } from 'node:timers/promises';
import type { V1CronJob } from '@kubernetes/client-node';
import { alarmAbout } from '../../core/alarms.ts';
import type { Log } from '../../core/log.ts';
import type { Release, Schedule } from '../../core/types.ts';
import type { Applied } from '../../kubernetes/applying.ts';
import { Leaving } from './leaving.ts';
import { labelValue } from './manifests-pod.ts';
import { LABELS, newRolloutId, type Rollout } from './names.ts';
import { deploymentsOf, type ObjectParts } from './objects.ts';
import type { ToolPod } from './pods.ts';
import { cronJobsOf, endSchedules, setSchedules } from './schedules.ts';
import { markLive, stopTraffic, switchTraffic } from './traffic.ts';

export interface LiveRolloutsOptions {
  readonly parts: ObjectParts;
  readonly drainMs: number;
  readonly log: Log;
}

const AGAIN_MS = 5000;

/** Which rollout of each tool gets the traffic, and those that it is taken from. */
export class LiveRollouts {
  readonly #options: LiveRolloutsOptions;
  readonly #leaving: Leaving;
  readonly #live = new Map<string, Rollout>();
  /** By rollout: of those that are started, live or leaving. */
  readonly #releases = new Map<string, Release>();
  readonly #begun = new Map<string, Set<string>>();
  /** Rollouts that are started, and may become live. */
  readonly #starting = new Set<string>();

  constructor(options: LiveRolloutsOptions) {
    this.#options = options;
    this.#leaving = new Leaving({ ...options, onGone: (id) => void this.#releases.delete(id) });
  }

  of(tool: string): Rollout | null {
    return this.#live.get(tool) ?? null;
  }

  /** Null where this server has not started or adopted it. */
  releaseOf(rolloutId: string): Release | null {
    return this.#releases.get(rolloutId) ?? null;
  }

  /** Whether a pod is of a rollout that this server has started or adopted, and of a process of its release. */
  hasPod({ rolloutId, type }: ToolPod): boolean {
    const processes = this.releaseOf(rolloutId)?.artifact.processes ?? [];
    return processes.some((process) => labelValue(process.type) === type);
  }

  /** When a pod's process is due; null where it is of another release, or by no schedule. */
  scheduleOf({ rolloutId, type }: ToolPod): Schedule | null {
    const processes = this.releaseOf(rolloutId)?.artifact.processes ?? [];
    return processes.find((process) => labelValue(process.type) === type)?.schedule ?? null;
  }

  isLeaving(rolloutId: string): boolean {
    return this.#leaving.has(rolloutId);
  }

  /** For what this server is about to make. */
  newId(tool: string): string {
    const id = newRolloutId();
    this.#begun.set(tool, (this.#begun.get(tool) ?? new Set()).add(id));
    return id;
  }

  /** Those of a tool that this server has begun, or that are live or leaving: all others are leftovers. */
  knownOf(tool: string): Set<string> {
    const adopted = [...this.#releases].filter(([, release]) => release.tool === tool).map(([id]) => id);
    return new Set([...(this.#begun.get(tool) ?? []), ...adopted, ...this.#leaving.of(tool)]);
  }

  /** A rollout begins: nothing else ends it from here on. */
  start(rollout: Rollout): void {
    this.#starting.add(rollout.id);
    this.remember(rollout);
  }

  /** From here on its release is known. */
  remember({ id, release }: Rollout): void {
    this.#releases.set(id, release);
  }

  forget({ id }: Rollout): void {
    this.#starting.delete(id);
    this.#releases.delete(id);
  }

  /** It has got the traffic already, and there is no other. */
  adopt(rollout: Rollout): void {
    this.#live.set(rollout.release.tool, rollout);
    this.#starting.delete(rollout.id);
    this.remember(rollout);
  }

  /**
   * Sends the traffic to a rollout whose release is the recorded one, makes its schedules the tool's, and ends all
   * others. What fails here is tried again by itself, until another takes its place.
   *
   * @returns What goes on where it has not worked at once; null = it has.
   */
  async switchTo(
    rollout: Rollout,
    cronJobs: readonly Applied<V1CronJob>[],
  ): Promise<{ readonly later: Promise<void> | null }> {
    this.adopt(rollout);
    if (await this.#move(rollout, cronJobs)) return { later: null };
    return { later: this.#moveLater(rollout, cronJobs) };
  }

  /** Takes the traffic from a tool and ends all that runs of it. Resolves when it is gone. */
  async stop(tool: string, namespace: string): Promise<void> {
    const { parts } = this.#options;
    this.#live.delete(tool);
    // What begins from here on stays.
    const rollouts = await this.#rolloutsOf(tool, namespace);
    await stopTraffic(parts, tool, namespace, parts.closing);
    await endSchedules(parts, tool, namespace);
    for (const id of rollouts) if (!this.#starting.has(id)) this.#leaving.retire(tool, namespace, id);
    await this.#leaving.hurry(tool);
  }

  async #moveLater(rollout: Rollout, cronJobs: readonly Applied<V1CronJob>[]): Promise<void> {
    do await wait(AGAIN_MS, null, { signal: this.#options.parts.closing }).catch(() => {});
    while (this.#isMeant(rollout) && !(await this.#move(rollout, cronJobs)));
  }

  async #move(rollout: Rollout, cronJobs: readonly Applied<V1CronJob>[]): Promise<boolean> {
    const { parts, log } = this.#options;
    const { namespace, release, id } = rollout;
    const { tool, version } = release;
    try {
      await switchTraffic(parts, rollout, parts.closing);
      await markLive(parts, rollout, parts.closing);
      // Before: a CronJob knows only the rollout that it is of now.
      const rollouts = await this.#rolloutsOf(tool, namespace);
      await setSchedules(parts, { tool, namespace }, cronJobs);
      for (const other of rollouts) {
        if (other !== id && !this.#starting.has(other)) this.#leaving.retire(tool, namespace, other);
      }
      return true;
    } catch (err) {
      // Where this server is to stop, the next one sees to it.
      if (!this.#isMeant(rollout)) return true;
      if (!alarmAbout(log, err, { tool, version })) log.error({ err, tool, version }, 'traffic not moved');
      return false;
    }
  }

  #isMeant(rollout: Rollout): boolean {
    return !this.#options.parts.closing.aborted && this.of(rollout.release.tool)?.id === rollout.id;
  }

  /** Those that have a Deployment or a CronJob. */
  async #rolloutsOf(tool: string, namespace: string): Promise<Set<string>> {
    const { parts } = this.#options;
    const [deployments, cronJobs] = await Promise.all([
      deploymentsOf(parts, tool, namespace, parts.closing),
      cronJobsOf(parts, tool, namespace, parts.closing),
    ]);
    return new Set(
      [...deployments, ...cronJobs].map(({ metadata }) => metadata?.labels?.[LABELS.rollout] ?? ''),
    );
  }
}
