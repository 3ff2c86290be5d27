import { setTimeout as wait } from 'node:timers/promises';
import { ConcurrencyLimit } from '../../../core/concurrency/concurrency-limit.ts';
import { logFailure } from '../../../core/log/alarms.ts';
import type { Log } from '../../../core/log/log.ts';
import type { Release, Schedule } from '../../../core/types.ts';
import { applyObject } from '../../../kubernetes/apply.ts';
import { memoryLimit } from '../../service-limits.ts';
import { maintenanceDeployment } from '../maintenance/maintenance-manifests.ts';
import { cronJobs } from '../manifests/cron-job-manifests.ts';
import { LABELS, newRolloutId, type Rollout } from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import type { ReleaseOptions } from '../manifests/rollout-manifests.ts';
import type { ToolPod } from '../pods/tool-pods.ts';
import { deploymentsOf, type ObjectParts } from '../rollout-objects.ts';
import { cronJobsOf, endSchedules, setSchedules } from '../schedules/schedules.ts';
import { RolloutRetirement } from './rollout-retirement.ts';
import { markLive, stopTraffic, switchTraffic } from './service-traffic.ts';

export interface LiveRolloutsOptions {
  readonly parts: ObjectParts;
  readonly drainMs: number;
  readonly log: Log;
}

const AGAIN_MS = 5000;

/** Knows which rollout of each tool gets the requests, moves the requests, and ends old rollouts. */
export class LiveRollouts {
  readonly parts: ObjectParts;
  readonly log: Log;
  readonly #retirement: RolloutRetirement;
  readonly #live = new Map<string, ReleaseOptions>();
  /**
   * Makes sure that, for each tool, moving or stopping its requests and restoring its deleted objects never happen at
   * the same time. The keys are tools.
   */
  readonly #turns = new Map<string, ConcurrencyLimit>();
  /** The releases of rollouts that are starting, live or draining. The keys are the ids of the rollouts. */
  readonly #releases = new Map<string, Release>();
  readonly #begun = new Map<string, Set<string>>();
  /** The ids of rollouts that are starting and may go live. */
  readonly #starting = new Set<string>();

  constructor(options: LiveRolloutsOptions) {
    this.parts = options.parts;
    this.log = options.log;
    this.#retirement = new RolloutRetirement({ ...options, onGone: (id) => void this.#releases.delete(id) });
  }

  of(tool: string): Rollout | null {
    return this.#live.get(tool)?.rollout ?? null;
  }

  /** Returns the live rollout of a tool, with all that is needed to make its manifests. Null if no rollout is live. */
  optionsOf(tool: string): ReleaseOptions | null {
    return this.#live.get(tool) ?? null;
  }

  /** Lists the tools that have a live rollout. */
  tools(): string[] {
    return [...this.#live.keys()];
  }

  /**
   * Runs `work` for the live rollout of a tool. Until `work` ends, switching or stopping the tool's traffic must wait.
   * Does nothing if the tool has no live rollout.
   */
  async whileLive(tool: string, work: (live: ReleaseOptions) => Promise<void>): Promise<void> {
    await this.inTurn(tool, async () => {
      const live = this.#live.get(tool);
      if (live !== undefined) await work(live);
    });
  }

  /** Runs `work`. Until `work` ends, switching or stopping the tool's traffic and restoring its objects must wait. */
  async inTurn<Result>(tool: string, work: () => Promise<Result>): Promise<Result> {
    const turns = this.#turns.get(tool) ?? new ConcurrencyLimit(1);
    this.#turns.set(tool, turns);
    return await turns.run(work);
  }

  /** Returns the release of a rollout. Null if this server has neither started nor resumed the rollout. */
  releaseOf(rolloutId: string): Release | null {
    return this.#releases.get(rolloutId) ?? null;
  }

  /** True if the pod belongs to a process of a rollout that this server has started or resumed. */
  hasPod({ rolloutId, type }: ToolPod): boolean {
    const processes = this.releaseOf(rolloutId)?.artifact.processes ?? [];
    return processes.some((process) => labelValue(process.type) === type);
  }

  /** Returns the schedule of a pod's process. Null if the pod's release is unknown, or if no schedule is set. */
  scheduleOf({ rolloutId, type }: ToolPod): Schedule | null {
    const processes = this.releaseOf(rolloutId)?.artifact.processes ?? [];
    return processes.find((process) => labelValue(process.type) === type)?.schedule ?? null;
  }

  isRetiring(rolloutId: string): boolean {
    return this.#retirement.has(rolloutId);
  }

  /** Returns a new id, for a rollout that this server will create. */
  newId(tool: string): string {
    const id = newRolloutId();
    this.#begun.set(tool, (this.#begun.get(tool) ?? new Set()).add(id));
    return id;
  }

  /**
   * Returns the ids of a tool's rollouts that this server has begun or resumed, or is ending. All other rollouts are
   * leftovers.
   */
  knownOf(tool: string): Set<string> {
    const own = [...this.#releases].filter(([, release]) => release.tool === tool).map(([id]) => id);
    return new Set([...(this.#begun.get(tool) ?? []), ...own, ...this.#retirement.of(tool)]);
  }

  /** Registers a starting rollout. Until it is live or forgotten, `switchTo` and `stop` do not end it. */
  start(rollout: Rollout): void {
    this.#starting.add(rollout.id);
    this.remember(rollout);
  }

  /** Remembers the release of a rollout, for `releaseOf`. */
  remember({ id, release }: Rollout): void {
    this.#releases.set(id, release);
  }

  forget({ id }: Rollout): void {
    this.#starting.delete(id);
    this.#releases.delete(id);
  }

  /** Registers a rollout as the live rollout of its tool. Changes nothing in the cluster. */
  resume(rollout: Rollout, toolNumber: number): void {
    const { config } = this.parts;
    this.#live.set(rollout.release.tool, { rollout, toolNumber, config });
    this.#starting.delete(rollout.id);
    this.remember(rollout);
  }

  /**
   * Returns how many bytes of memory a process may use.
   *
   * @param otherwise - The operator's limit. This is the result if the pod's rollout is unknown.
   */
  memoryOf({ rolloutId, type }: Pick<ToolPod, 'rolloutId' | 'type'>, otherwise: number): number {
    const release = this.releaseOf(rolloutId);
    return release === null ? otherwise : memoryLimit(release, type, otherwise);
  }

  /**
   * Sends the requests to the rollout that is recorded as live, sets its schedules, and begins to end all other
   * rollouts except those that are starting. Failures are retried until another rollout goes live, the tool is stopped,
   * or this server stops.
   *
   * @returns `later`, which resolves when the retries have ended. Null if the traffic moved at the first attempt.
   */
  async switchTo(rollout: Rollout, toolNumber: number): Promise<{ readonly later: Promise<void> | null }> {
    this.resume(rollout, toolNumber);
    const { tool } = rollout.release;
    const move = () => this.inTurn(tool, () => this.#move(rollout, toolNumber));
    if (await move()) return { later: null };
    return { later: this.#moveLater(rollout, move) };
  }

  /**
   * Stops the traffic of a tool and ends all its processes, except those of rollouts that are starting. Resolves when
   * the processes have ended, or when `removeRollout` no longer waits for them.
   */
  async stop(tool: string, namespace: string): Promise<void> {
    const { parts } = this;
    this.#live.delete(tool);
    await this.inTurn(tool, async () => {
      // List the rollouts before the traffic stops, so that rollouts that begin later are not ended.
      const rollouts = await this.#rolloutsOf(tool, namespace);
      await stopTraffic(parts, tool, namespace, parts.closing);
      await endSchedules(parts, tool, namespace);
      for (const id of rollouts) if (!this.#starting.has(id)) this.#retirement.retire(tool, namespace, id);
    });
    await this.#retirement.hurry(tool);
  }

  async #moveLater(rollout: Rollout, move: () => Promise<boolean>): Promise<void> {
    do await wait(AGAIN_MS, null, { signal: this.parts.closing }).catch(() => {});
    while (this.#isMeant(rollout) && !(await move()));
  }

  async #move(rollout: Rollout, toolNumber: number): Promise<boolean> {
    const { parts, log } = this;
    const { namespace, release, id } = rollout;
    const { tool, version } = release;
    try {
      await switchTraffic(parts, rollout, parts.closing);
      if (parts.isInMaintenance?.(tool) === true) {
        const page = maintenanceDeployment({ ...rollout, toolNumber, config: parts.config });
        // If the Deployment of the page cannot be updated, only log this: visitors still get the page about maintenance
        // of the earlier release. If there is no such Deployment, `Drift` creates it later.
        await applyObject(parts.cluster, page, { signal: parts.closing }).catch((error: unknown) =>
          logFailure(log, { error, message: 'cannot renew the page about maintenance', facts: { tool } }),
        );
      }
      await markLive(parts, rollout, parts.closing);
      // List the rollouts before `setSchedules` moves each CronJob to the new rollout. Otherwise an old rollout that
      // has only CronJobs would not be found and ended.
      const rollouts = await this.#rolloutsOf(tool, namespace);
      const { config } = parts;
      await setSchedules(parts, { tool, namespace }, cronJobs({ rollout, toolNumber, config }));
      for (const other of rollouts) {
        if (other !== id && !this.#starting.has(other)) this.#retirement.retire(tool, namespace, other);
      }
      this.#forgetEmpty(rollout);
      return true;
    } catch (err) {
      // Do not retry if another rollout is live by now, if the tool was stopped, or if this server is stopping. In the
      // last case, the next start of the server moves the requests.
      if (!this.#isMeant(rollout)) return true;
      logFailure(log, { error: err, message: 'cannot move the traffic', facts: { tool, version } });
      return false;
    }
  }

  /**
   * Forgets the releases of older rollouts that have no Deployment and no CronJob: nothing of them is left to end. The
   * release of any other old rollout is forgotten when the server has ended that rollout.
   */
  #forgetEmpty({ id, release: { tool } }: Rollout): void {
    for (const [other, release] of this.#releases) {
      const isKept = other === id || this.#starting.has(other) || this.#retirement.has(other);
      if (release.tool === tool && !isKept) this.#releases.delete(other);
    }
  }

  #isMeant(rollout: Rollout): boolean {
    return !this.parts.closing.aborted && this.of(rollout.release.tool)?.id === rollout.id;
  }

  /** Returns the ids of a tool's rollouts that have a Deployment or a CronJob. */
  async #rolloutsOf(tool: string, namespace: string): Promise<Set<string>> {
    const { parts } = this;
    const [deployments, cronJobs] = await Promise.all([
      deploymentsOf(parts, tool, namespace, parts.closing),
      cronJobsOf(parts, tool, namespace, parts.closing),
    ]);
    return new Set(
      [...deployments, ...cronJobs].map(({ metadata }) => metadata?.labels?.[LABELS.rollout] ?? ''),
    );
  }
}
