import { setTimeout as wait } from 'node:timers/promises';
import type { V1Pod } from '@kubernetes/client-node';
import { KeyedConcurrencyLimit } from '../../../core/concurrency/concurrency-limit.ts';
import { DeployError } from '../../../core/errors.ts';
import { logFailure } from '../../../core/log/alarms.ts';
import { applyObject } from '../../../kubernetes/apply.ts';
import { podFault } from '../../../kubernetes/faults/pod-faults.ts';
import { retrying, retryRemoval } from '../../../kubernetes/retry.ts';
import { pageTooLarge } from '../../words/maintenance-words.ts';
import { CONTAINER, maintenanceLabels, maintenanceName, NO_ROLLOUT } from '../manifests/object-names.ts';
import { NamespaceEvents } from '../pods/namespace-events.ts';
import type { LiveRollouts } from '../rollout/live-rollouts.ts';
import {
  endpointsOf,
  makeWay,
  serviceNow,
  stopTraffic,
  switchTraffic,
  trafficOf,
} from '../rollout/service-traffic.ts';
import type { ObjectParts } from '../rollout-objects.ts';
import { type MaintenancePage, maintenanceDeployment } from './maintenance-manifests.ts';

interface Place {
  readonly tool: string;
  readonly namespace: string;
}

const LOOK_MS = 200;
/**
 * If the pod that shows the page about maintenance has had a fault for this many milliseconds, the server gives up.
 * Before that, the fault may pass by itself: for example, the nodes may have no room for a moment.
 */
const FAULT_MS = 20_000;
const FOLLOW_MS = 30_000;
const LOG_MS = 3000;
const AGAIN = 'Type the command again. If it fails again, tell the operator.';

/**
 * Knows which tools are in maintenance. The Service of such a tool selects a pod that shows the page about maintenance
 * (maintenance-manifests.ts), not the pods of the live rollout. So rollouts go on while visitors see the page. The page
 * stays while this server does not run.
 */
export class ClusterMaintenance {
  readonly #on = new Set<string>();
  /** Lets only one call of `begin`, `end` or `cleanUp` at a time run for each tool. The keys are tools. */
  readonly #turns = new KeyedConcurrencyLimit(1);

  isOn(tool: string): boolean {
    return this.#on.has(tool);
  }

  /** Records that a tool is in maintenance, which an earlier server has begun. Changes nothing in the cluster. */
  keep(tool: string): void {
    this.#on.add(tool);
  }

  /** Forgets that a tool is in maintenance. Call this when the objects of the tool are being removed. */
  forget(tool: string): void {
    this.#on.delete(tool);
  }

  /**
   * Starts the pod that shows the page about maintenance, and sends the tool's visitors to this pod. Resolves when they
   * get the page.
   *
   * @returns true if visitors get the tool's own page.
   * @throws DeployError `PAGE_TOO_LARGE` if the tool's own page is larger than `MAX_PAGE_BYTES`; `NO_MAINTENANCE` if
   * the pod does not start; the cluster's refusal. Unless the tool was in maintenance before, all changes are then
   * undone.
   */
  async begin(live: LiveRollouts, page: MaintenancePage): Promise<boolean> {
    const { parts } = live;
    const { namespace, release } = page;
    const { tool } = release;
    const place = { tool, namespace };
    return await this.#turns.run(
      tool,
      async () => {
        const wasOn = this.#on.has(tool);
        try {
          await applyObject(parts.cluster, maintenanceDeployment(page), { signal: parts.closing });
          const pod = await untilUp(parts, page);
          const [kind = '', large = ''] = (await firstLine(parts, namespace, pod)).split(' ');
          if (kind === 'large') throw pageTooLarge(release, large);
          await live.inTurn(tool, () => this.#show(live, page));
          return kind === 'own';
        } catch (error) {
          const undo = () => (this.#on.has(tool) ? this.#leave(live, place) : removePage(parts, place));
          // Ignore a failure of `undo`, because the next start of the server undoes the changes.
          if (!wasOn) await undo().catch(() => {});
          throw error;
        }
      },
      parts.closing,
    );
  }

  /**
   * Sends the visitors to the live rollout again, if the tool has one, and then removes the pod that shows the page
   * about maintenance. Does nothing if the tool is not in maintenance.
   *
   * @throws DeployError the cluster's refusal. The tool then counts as in maintenance, although its visitors may get
   * its processes already.
   */
  async end(live: LiveRollouts, place: Place): Promise<void> {
    const { tool } = place;
    const work = async () => {
      if (!this.#on.has(tool)) return;
      try {
        await this.#leave(live, place);
      } catch (error) {
        this.#on.add(tool);
        throw error;
      }
    };
    await this.#turns.run(tool, work, live.parts.closing);
  }

  /**
   * Removes the pod that shows the page about maintenance, unless the tool is in maintenance or its Service still sends
   * visitors to this pod. Such a pod stays if a server is killed while it begins or ends a maintenance.
   */
  async cleanUp(live: LiveRollouts, place: Place): Promise<void> {
    const { parts } = live;
    const work = async () => {
      if (this.#on.has(place.tool)) return;
      // If the Service still selects the pod that shows the page about maintenance, the server could not send the
      // requests to the live rollout yet. Then keep the pod until the next start of the server.
      const traffic = await trafficOf(parts, place.tool, place.namespace, parts.closing);
      if (traffic?.isPage !== true || live.of(place.tool) === null) await removePage(parts, place);
    };
    await this.#turns.run(place.tool, work, parts.closing);
  }

  async #show(live: LiveRollouts, page: MaintenancePage): Promise<void> {
    const { parts } = live;
    const { cluster, config, closing: signal } = parts;
    const { namespace, release } = page;
    const { tool } = release;
    this.#on.add(tool);
    const now = live.optionsOf(tool);
    // The maintenance page comes from the image of a release. Another rollout may have gone live since the pod of the
    // page was started, so show the page of the release that is live now.
    if (now !== null)
      await applyObject(cluster, maintenanceDeployment({ ...now.rollout, ...now }), { signal });
    await makeWay(parts, tool, namespace, signal);
    const rolloutId = now?.rollout.id ?? NO_ROLLOUT;
    await applyObject(cluster, serviceNow(parts, { tool, namespace, rolloutId }), { signal });
    await endpointsFollow(parts, page);
    await wait(config.ingress_time, null, { signal });
  }

  async #leave(live: LiveRollouts, place: Place): Promise<void> {
    const { parts, log } = live;
    const { tool, namespace } = place;
    await live.inTurn(tool, async () => {
      this.#on.delete(tool);
      const rollout = live.of(tool);
      if (rollout !== null) await switchTraffic(parts, rollout, parts.closing);
      else await stopTraffic(parts, tool, namespace, parts.closing);
      // Log a failure and continue: visitors no longer get the page about maintenance, and the next start of the server
      // removes its pod.
      await removePage(parts, place).catch((error: unknown) => {
        logFailure(log, { error, message: 'cannot remove the page about maintenance', facts: { tool } });
      });
    });
  }
}

async function removePage({ cluster }: ObjectParts, { tool, namespace }: Place): Promise<void> {
  const call = { namespace, labelSelector: selectorOf(tool), propagationPolicy: 'Background' };
  await retryRemoval(() => cluster.apps.deleteCollectionNamespacedDeployment(call));
}

/**
 * Waits until the pod that shows visitors the release's page about maintenance is ready.
 *
 * @returns the name of the pod.
 * @throws DeployError `NO_MAINTENANCE` if the pod does not start; the cluster's refusal.
 */
async function untilUp(parts: ObjectParts, page: MaintenancePage): Promise<string> {
  const { cluster, config, closing } = parts;
  const { namespace } = page;
  const over = new AbortController();
  const events = new NamespaceEvents(() => {});
  events.watch(cluster, namespace, AbortSignal.any([closing, over.signal]));
  const startedAt = performance.now();
  let faultSince: number | null = null;
  const hasLasted = () => {
    faultSince ??= performance.now();
    return performance.now() - faultSince > FAULT_MS;
  };
  const failed = (words: string) =>
    new DeployError('NO_MAINTENANCE', `the page about maintenance cannot be shown: its pod ${words}`, AGAIN);
  try {
    for (;;) {
      const pods = await podsOf(parts, page);
      const ready = pods.find(isReady)?.metadata?.name;
      if (ready !== undefined) return ready;
      const [pod] = pods;
      const fault = pod === undefined ? null : podFault(pod, events.ofPod(pod.metadata?.uid ?? ''));
      const refusal = pod === undefined ? events.refusalOf(maintenanceName(page)) : null;
      if (fault === null && refusal === null) faultSince = null;
      if (fault !== null && (!fault.mayPass || hasLasted())) throw failed(fault.words);
      if (refusal !== null && hasLasted())
        throw new DeployError(
          refusal.code,
          `the page about maintenance cannot be shown: ${refusal.message}`,
          refusal.hint,
          { cause: refusal },
        );
      if (performance.now() - startedAt > config.pod_start_time)
        throw failed(`was not ready within ${config.pod_start_time / 1000} s`);
      await wait(LOOK_MS, null, { signal: closing });
    }
  } finally {
    over.abort();
  }
}

/** Lists the pods that show visitors a release's page about maintenance, without the pods that are ending. */
async function podsOf(
  { cluster, closing }: ObjectParts,
  { namespace, release }: MaintenancePage,
): Promise<V1Pod[]> {
  const call = { namespace, labelSelector: selectorOf(release.tool) };
  const { items } = await retrying(() => cluster.core.listNamespacedPod(call), { signal: closing });
  return items.filter(
    ({ metadata, spec }) =>
      metadata?.deletionTimestamp === undefined && spec?.containers[0]?.image === release.artifact.reference,
  );
}

function isReady({ status }: V1Pod): boolean {
  return status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
}

/**
 * Returns the line with which the program `PAGE_SERVER` in the pod says which page it shows. If the log has no complete
 * line after 3 s, returns what it has, usually an empty text.
 */
async function firstLine({ cluster, closing }: ObjectParts, namespace: string, pod: string): Promise<string> {
  const call = { name: pod, namespace, container: CONTAINER, limitBytes: 200 };
  for (const end = performance.now() + LOG_MS; ; ) {
    const text: string = await retrying(() => cluster.core.readNamespacedPodLog(call), { signal: closing });
    if (text.includes('\n') || performance.now() > end) return text.trim();
    await wait(LOOK_MS, null, { signal: closing });
  }
}

/**
 * Waits until the cluster sends the tool's requests only to pods with the page about maintenance.
 *
 * @throws DeployError `CLUSTER_UNREACHABLE` if requests still go elsewhere after 30 s.
 */
async function endpointsFollow(parts: ObjectParts, page: MaintenancePage): Promise<void> {
  const { closing: signal } = parts;
  const { namespace, release } = page;
  const prefix = `${maintenanceName(page)}-`;
  for (const end = performance.now() + FOLLOW_MS; ; ) {
    const endpoints = await endpointsOf(parts, release.tool, namespace, signal);
    const areMine = endpoints.every(({ targetRef }) => targetRef?.name?.startsWith(prefix) === true);
    if (areMine && endpoints.some(({ conditions }) => conditions?.ready !== false)) return;
    if (performance.now() > end)
      throw new DeployError(
        'CLUSTER_UNREACHABLE',
        `the cluster does not send the requests of ${release.tool} to the page about maintenance yet`,
        'Tell the operator: the controllers of the cluster are slow, perhaps because its API server was restarted.',
      );
    await wait(LOOK_MS, null, { signal });
  }
}

function selectorOf(tool: string): string {
  return Object.entries(maintenanceLabels(tool))
    .map((label) => label.join('='))
    .join(',');
}
