import { setTimeout as wait } from 'node:timers/promises';
import type { V1Deployment } from '@kubernetes/client-node';
import { ConcurrencyLimit } from '../../../core/concurrency/concurrency-limit.ts';
import { DeployError } from '../../../core/errors.ts';
import { alarmAbout } from '../../../core/log/alarms.ts';
import { lostWords } from '../../../core/lost-namespace.ts';
import { scalable, scheduledIn } from '../../../core/replicas.ts';
import { isNoNamespace } from '../../../kubernetes/faults/api-refusals.ts';
import { LABELS, type Rollout } from '../manifests/object-names.ts';
import { labelValue } from '../manifests/pod-manifest.ts';
import { type ReleaseOptions, replicaCount } from '../manifests/rollout-manifests.ts';
import { foreignManagers, type ProcessNote } from '../pods/pod-status.ts';
import type { PodListener, ToolPod } from '../pods/tool-pods.ts';
import type { LiveRollouts } from '../rollout/live-rollouts.ts';
import { deploymentsOf, ensureNamespace } from '../rollout-objects.ts';
import type { LostNamespaces } from './lost-namespaces.ts';
import { type PresentObject, PresentObjects } from './present-objects.ts';
import { Gaps, type Missing } from './restore-objects.ts';

/** The findings of the class `Drift` about the live rollout of one tool. */
interface ToolDrift {
  readonly rolloutId: string;
  notes: readonly (ProcessNote & { readonly at: number })[];
  /**
   * The last logged reason why missing objects could not be restored. Null if no failure was logged since the last
   * success.
   */
  failure: string | null;
  /**
   * True if restoring objects has failed once since the tool's namespace was created again. The first failure is not
   * logged, because this server may get its rights a moment later. Later failures are logged.
   */
  hasFailedInNewNamespace: boolean;
}

interface Change {
  readonly rolloutId: string;
  readonly namespace: string;
  readonly object: string;
  readonly name: string;
  readonly by: string;
  isTold: boolean;
}

// After the deletion of an object of a tool, the tool is checked for missing objects about this many milliseconds
// later. By then, the objects that belong to the deleted object have disappeared too.
const SETTLE_MS = 1000;
// About how many milliseconds a pass over up to fifty tools takes. A pass checks each tool once for missing objects.
const PASS_MS = 10_000;
const NOBODY_MS = 1000;
// About the shortest pause between the checks of two tools. Each check of a tool makes at least one request, for its
// Secret, because no watch shows Secrets.
const LEAST_PAUSE_MS = 200;
const CALL_MS = 10_000;
const NOTED_MS = 3600_000;

/**
 * Restores objects of live releases that others have deleted, and reports this in `ps` and in the log of the server.
 * With the setting `make_namespaces`, also restores the NetworkPolicy of each tool's namespace. Objects that others
 * have changed stay as they are, and are reported too. Nothing is restored while the tool's requests are moved to
 * another rollout or stopped, or in a namespace that is being deleted. If a deleted namespace is created again, the
 * live release is started in it.
 *
 * A watch shows a deletion at once. In addition, each tool is checked in turn: every 10 s if there are at most fifty
 * tools, every ten minutes if there are 3,000. Tools that have lost their namespace are checked in a separate pass. If
 * a pod waits for a missing Secret, the Secret is restored about a second later.
 */
export class Drift implements PodListener {
  readonly #live: LiveRollouts;
  readonly #lost: LostNamespaces;
  readonly #present = new PresentObjects();
  readonly #tools = new Map<string, ToolDrift>();
  readonly #changes = new Map<string, Change>();
  readonly #suspected = new Set<string>();
  readonly #looks = new ConcurrencyLimit(4);

  constructor(live: LiveRollouts, lost: LostNamespaces) {
    this.#live = live;
    this.#lost = lost;
  }

  /**
   * Watches the objects of all tools in the cluster, and restores missing objects, until the server stops. Also checks
   * each tool in turn, because no watch shows that a Secret is missing.
   */
  async watch(): Promise<void> {
    const [live, lost] = [this.#live, this.#lost];
    const { cluster, closing } = live.parts;
    const listener = {
      onState: (object: PresentObject) => this.#note(object),
      onGone: ({ metadata }: PresentObject) => {
        this.#changes.delete(metadata.uid ?? '');
        this.#suspect(metadata.labels?.[LABELS.tool] ?? '', metadata.namespace);
      },
    };
    this.#present.watch(cluster, live.log, listener, closing);
    await Promise.all([
      this.#passes(() => live.tools().filter((tool) => lost.of(tool) === null)),
      this.#passes(() => lost.tools()),
    ]);
  }

  async #passes(toolsNow: () => readonly string[]): Promise<void> {
    const { closing } = this.#live.parts;
    while (!closing.aborted) {
      const tools = toolsNow();
      for (const tool of tools) {
        await pause(Math.max(PASS_MS / tools.length, LEAST_PAUSE_MS), closing);
        await this.#look(tool);
      }
      if (tools.length === 0) await pause(NOBODY_MS, closing);
    }
  }

  /**
   * If this pod waits for a missing Secret, looks for missing objects of its tool about a second later.
   *
   * @see PodListener
   */
  pod({ tool, rolloutId, namespace, container }: ToolPod): void {
    const isWithout = container?.state?.waiting?.reason === 'CreateContainerConfigError';
    if (isWithout && this.#live.of(tool)?.id === rolloutId) this.#suspect(tool, namespace);
  }

  /**
   * Returns the remarks that people see about a tool's processes: that their namespace was deleted, or which of their
   * objects were deleted. A remark about a deleted object is returned for an hour.
   */
  notes(tool: string): readonly ProcessNote[] {
    const [place, rollout] = [this.#lost.of(tool), this.#live.of(tool)];
    if (place !== null && rollout !== null) return lostNotes(rollout, lostWords(place));
    const drift = this.#tools.get(tool);
    if (drift === undefined || drift.rolloutId !== rollout?.id) return [];
    return drift.notes.filter(({ at }) => Date.now() - at < NOTED_MS);
  }

  /**
   * Looks for missing objects of a tool about a second later, and restores them.
   *
   * @param namespace - The namespace of the object that was deleted or changed. Nothing is done if the live release is
   * in another namespace: objects of others may have the tool's labels.
   */
  #suspect(tool: string, namespace: string | undefined): void {
    if (this.#live.of(tool)?.namespace !== namespace || this.#suspected.has(tool)) return;
    this.#suspected.add(tool);
    void pause(SETTLE_MS, this.#live.parts.closing)
      .then(() => this.#suspected.delete(tool))
      .then(() => this.#looks.run(() => this.#look(tool)));
  }

  /** Restores the missing objects of a tool. If this fails, reports the failure. The next regular check tries again. */
  async #look(tool: string): Promise<void> {
    const live = this.#live;
    if (live.parts.closing.aborted) return;
    let drift: ToolDrift | null = null;
    try {
      await live.whileLive(tool, async (options) => {
        drift = this.#of(options.rollout);
        await this.#restore(options, drift);
      });
      await this.#tellChanges(tool);
    } catch (error) {
      if (drift !== null) await this.#failed(tool, drift, error);
    }
  }

  async #restore(options: ReleaseOptions, drift: ToolDrift): Promise<void> {
    const { parts, log } = this.#live;
    const lost = this.#lost;
    const { tool, version } = options.rollout.release;
    const call = { signal: parts.closing, timeoutMs: CALL_MS };
    if (lost.of(tool) !== null) {
      const state = await lost.look(tool);
      if (state === 'gone' || state === 'leaving') return;
      if (state === 'there') await ensureNamespace(parts, options.rollout, parts.closing);
    }
    const gaps = await Gaps.of({ ...parts, present: this.#present }, options, call);
    const { missing } = gaps;
    if (missing.some(({ kind }) => kind === 'NetworkPolicy')) {
      // The NetworkPolicy may be missing because the whole namespace was deleted. In that case restore nothing, because
      // restoring the NetworkPolicy would create the namespace again.
      const state = await lost.look(tool);
      if (state === 'gone' || state === 'leaving') return;
    }
    if (missing.length > 0) {
      // If Deployments are missing, the cluster has deleted their Secret with them. So `ps` does not mention the
      // Secret.
      const isAll = missing.some(({ kind }) => kind === 'Deployment');
      const meant = missing.filter(({ kind }) => !(isAll && kind === 'Secret'));
      const said = (text: string) => (drift.notes = meant.map((one) => note(one, text)));
      said('is being restored');
      await gaps.restore().catch((error: unknown) => {
        said(`could not be restored: ${error instanceof Error ? error.message : String(error)}`);
        throw error;
      });
      said(`was restored at ${new Date().toISOString().slice(0, 19)}Z`);
      const restored = missing.map(({ kind, name }) => `${kind} ${name}`);
      log.warn({ tool, version, restored }, 'deleted objects of a live release made again');
    } else await gaps.makeBudgets();
    drift.failure = null;
    drift.hasFailedInNewNamespace = false;
    lost.restored(tool);
  }

  async #failed(tool: string, drift: ToolDrift, thrown: unknown): Promise<void> {
    const { parts, log } = this.#live;
    const lost = this.#lost;
    const error = await lost.explain(tool, thrown);
    const code = error instanceof DeployError ? error.code : null;
    // Do not report these errors here: the next regular check tries again. Other parts of the server report a lost
    // namespace, and a cluster that does not answer.
    if (parts.closing.aborted || code === 'CLUSTER_UNREACHABLE' || isNoNamespace(error)) return;
    // If a lost namespace has just been created again, the first failure there is not reported. This server may get its
    // rights there a moment later.
    const isFirst = lost.of(tool)?.state === 'empty' && !drift.hasFailedInNewNamespace;
    drift.hasFailedInNewNamespace ||= isFirst;
    if (isFirst) return;
    const message = error instanceof Error ? error.message : String(error);
    if (drift.failure === message) return;
    drift.failure = message;
    if (!alarmAbout(log, error, { tool }))
      log.error({ tool, code, why: message }, 'deleted objects of a live release cannot be made again');
  }

  #note({ kind, metadata }: PresentObject): void {
    const { uid = '', labels = {}, name = '', namespace = '' } = metadata;
    const [tool, rolloutId] = [labels[LABELS.tool], labels[LABELS.rollout]];
    if (tool === undefined || rolloutId === undefined || kind === 'PodDisruptionBudget') return;
    const by = foreignManagers({ metadata });
    if (by === null) return void this.#changes.delete(uid);
    const object = `${kind} ${name} ${by} ${metadata.generation}`;
    if (this.#changes.get(uid)?.object === object) return;
    this.#changes.set(uid, { rolloutId, namespace, object, name, by, isTold: false });
    this.#suspect(tool, namespace);
  }

  async #tellChanges(tool: string): Promise<void> {
    const { parts, log } = this.#live;
    const rollout = this.#live.of(tool);
    if (rollout === null) return;
    const changes = [...this.#changes.values()].filter(
      (one) => one.rolloutId === rollout.id && one.namespace === rollout.namespace && !one.isTold,
    );
    if (changes.length === 0) return;
    const all = await deploymentsOf(parts, tool, rollout.namespace, parts.closing);
    for (const change of changes) {
      change.isTold = true;
      const now = all.find(({ metadata }: V1Deployment) => metadata?.name === change.name);
      const replicas = now === undefined ? {} : { replicas: now.spec?.replicas ?? 1 };
      const { name, by } = change;
      const facts = { tool, version: rollout.release.version, object: name, by, ...replicas };
      log.warn(
        facts,
        'somebody else changed an object of a live release; this server does not undo the change',
      );
    }
  }

  #of({ id, release }: Rollout): ToolDrift {
    const known = this.#tools.get(release.tool);
    if (known?.rolloutId === id) return known;
    const drift: ToolDrift = { rolloutId: id, notes: [], failure: null, hasFailedInNewNamespace: false };
    this.#tools.set(release.tool, drift);
    return drift;
  }
}

function note({ kind, type }: Missing, text: string): ToolDrift['notes'][number] {
  return { type, text: `its ${kind} was deleted outside of this server, and ${text}`, at: Date.now() };
}

/** Returns one remark, with the words `text`, for each process type of the rollout that has processes or a schedule. */
function lostNotes(rollout: Rollout, text: string): ProcessNote[] {
  const staying = scalable(rollout.release).filter(({ type }) => replicaCount(rollout, type) > 0);
  return [...staying, ...scheduledIn(rollout.release)].map(({ type }) => ({ type: labelValue(type), text }));
}

/**
 * Waits for 75 to 125 percent of `ms`. The time varies, so that many tools are not checked together. Ends when the
 * signal fires.
 */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms * (0.75 + Math.random() / 2), null, { signal }).catch(() => {});
}
