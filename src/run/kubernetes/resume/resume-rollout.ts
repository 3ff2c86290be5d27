import { untilAborted } from '../../../core/concurrency/until-aborted.ts';
import type { ToolName } from '../../../core/names.ts';
import { scalable } from '../../../core/replicas.ts';
import type { Rollout } from '../manifests/object-names.ts';
import { hasAddress } from '../manifests/rollout-manifests.ts';
import type { LiveRollouts } from '../rollout/live-rollouts.ts';
import { restoreReplicas } from '../rollout/scale-rollout.ts';
import { prepareTraffic, removeIngress, trafficOf } from '../rollout/service-traffic.ts';
import { deploymentsOf, ensureNamespace, makeRollout } from '../rollout-objects.ts';
import { areSet, cronJobsOf } from '../schedules/schedules.ts';
import { findLiveRollout } from './find-live-rollout.ts';

export interface Resumption {
  /** The rollout to create if the cluster has no rollout of the live release. */
  readonly fresh: Rollout;
  readonly toolNumber: number;
  /** Called when the rollout to resume is known, before anything is changed. */
  readonly onKnown: () => void;
}

/**
 * Resumes the release that is recorded as live, at the start of a server. Keeps the rollout of this release that the
 * cluster has. If the cluster has none, creates a rollout. Sends the tool's requests to this rollout, and ends all
 * other rollouts of the tool.
 *
 * @returns `later`: null if this rollout gets the requests now. Otherwise, the server tries again to send them there,
 * and `later` resolves when this succeeds, or when the server gives up because it stops, because the tool is stopped,
 * or because another rollout goes live.
 * @throws DeployError if the cluster refuses a call or does not answer; the reason of the signal `closing` when it
 * fires.
 */
export async function resumeRollout(
  live: LiveRollouts,
  { fresh, toolNumber, onKnown }: Resumption,
): Promise<{ readonly later: Promise<void> | null }> {
  const { parts } = live;
  const { config, closing: signal } = parts;
  signal.throwIfAborted();
  const { namespace, release } = fresh;
  const { tool } = release;
  const traffic = await trafficOf(parts, tool, namespace, signal);
  const selected = traffic?.rolloutId ?? null;
  const schedules = await cronJobsOf(parts, tool, namespace, signal);
  const objects = [...(await deploymentsOf(parts, tool, namespace, signal)), ...schedules];
  const found = findLiveRollout(objects, fresh, selected);
  const rollout = found.rolloutId === null ? fresh : { ...fresh, id: found.rolloutId };
  live.remember(rollout);
  onKnown();
  if (found.rolloutId === null) {
    await ensureNamespace(parts, rollout, signal);
    await prepareTraffic(parts, rollout, signal);
    await makeRollout(parts, { rollout, toolNumber, config }, signal);
  } else await restoreReplicas(parts, rollout, signal);
  const hasWeb = scalable(release).some(({ type }) => type === 'web');
  // If the tool's host is the server's own host, the tool gets no address. An older version of the server may have
  // created an Ingress for this host all the same, so remove it.
  if (hasWeb && !hasAddress(tool, config)) await removeIngress(parts, tool, namespace, signal);
  const isInMaintenance = parts.isInMaintenance?.(tool) === true;
  const isSelected =
    selected === (hasWeb || isInMaintenance ? rollout.id : null) &&
    (traffic?.isPage ?? false) === isInMaintenance;
  const isWhole = found.rolloutId !== null && found.others.length === 0 && areSet(schedules, rollout);
  if (isSelected && isWhole) {
    live.resume(rollout, toolNumber);
    return { later: null };
  }
  return await live.switchTo(rollout, toolNumber);
}

/** Keeps track of the tools whose live release is being resumed after a start of the server. */
export class Resuming {
  readonly #byTool = new Map<ToolName, Promise<void>>();

  /** Runs `work`, which resumes a tool. Calls of `ended` wait until `work` has ended. @throws the error of `work`. */
  async run(tool: ToolName, work: () => Promise<void>): Promise<void> {
    const resuming = work();
    this.#byTool.set(
      tool,
      resuming.catch(() => {}),
    );
    await resuming.finally(() => this.#byTool.delete(tool));
  }

  /**
   * Resolves when the tool is no longer being resumed. A new rollout must wait for this, because resuming removes all
   * rollouts except the live rollout.
   *
   * @throws the reason of the signal when it fires.
   */
  async ended(tool: ToolName, signal: AbortSignal): Promise<void> {
    const resuming = this.#byTool.get(tool);
    if (resuming !== undefined) await untilAborted(resuming, signal);
  }
}
