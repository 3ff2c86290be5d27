import { DeployError } from '../../../core/errors.ts';
import { calm } from '../../../core/log/alarms.ts';
import type { LostNamespace } from '../../../core/lost-namespace.ts';
import { isNoNamespace, noNamespace } from '../../../kubernetes/faults/api-refusals.ts';
import { type NamespaceState, namespaceState } from '../../../kubernetes/namespace-state.ts';
import type { Rollout } from '../manifests/object-names.ts';
import type { LiveRollouts } from '../rollout/live-rollouts.ts';

const LOOK_MS = 10_000;

/** Keeps track of live releases whose namespace others have deleted. Each loss of a namespace is logged once. */
export class LostNamespaces {
  readonly #live: LiveRollouts;
  readonly #namespaceOf: (tool: string) => string;
  /**
   * The namespaces that others have deleted although a live release ran in them. The keys are the tools of the
   * releases.
   */
  readonly #lost = new Map<string, LostNamespace & { readonly rolloutId: string }>();

  /** @param namespaceOf - Returns the name of the namespace that has the objects of a tool. */
  constructor(live: LiveRollouts, namespaceOf: (tool: string) => string) {
    this.#live = live;
    this.#namespaceOf = namespaceOf;
  }

  /**
   * Returns the namespace of the tool's live release if others have deleted it. Null if nobody has deleted it, or if
   * all objects of the release exist again.
   */
  of(tool: string): LostNamespace | null {
    const lost = this.#lost.get(tool);
    return lost === undefined || lost.rolloutId !== this.#live.of(tool)?.id ? null : lost;
  }

  /** Lists the tools whose live release does not run because others have deleted its namespace. */
  tools(): string[] {
    return this.#live.tools().filter((tool) => this.of(tool) !== null);
  }

  /**
   * Finds out whether an error comes from the loss of the tool's namespace. This server's rights in a namespace are
   * deleted with the namespace, so the API may report missing rights instead.
   *
   * @returns a DeployError `NAMESPACE_MISSING` if the namespace does not exist, or `NAMESPACE_LEAVING` if it is being
   * deleted. Otherwise `error` itself.
   */
  async explain(tool: string, error: unknown): Promise<unknown> {
    if (!isNoNamespace(error) && !(error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN'))
      return error;
    const said = isNoNamespace(error) ? (error.code === 'NAMESPACE_MISSING' ? 'gone' : 'leaving') : null;
    const state = await this.look(tool, said);
    return state === null || state === 'there' ? error : noNamespace(this.#namespaceOf(tool), state, error);
  }

  /**
   * Reads the state of a tool's namespace from the cluster, and remembers the state.
   *
   * @param otherwise - The state to assume if this server may not read the state, or if the cluster does not answer.
   * @returns null if the state is unknown and `otherwise` is null.
   */
  async look(tool: string, otherwise: NamespaceState | null = null): Promise<NamespaceState | null> {
    const { cluster, closing } = this.#live.parts;
    const namespace = this.#namespaceOf(tool);
    const call = { signal: closing, timeoutMs: LOOK_MS };
    const state = (await namespaceState(cluster, namespace, call).catch(() => null)) ?? otherwise;
    const rollout = this.#live.of(tool);
    if (rollout !== null && state !== null) this.#remember(rollout, state);
    return state;
  }

  /** Forgets that the namespace was lost. Call this when all objects of the live release exist again. */
  restored(tool: string): void {
    const lost = this.of(tool);
    this.#lost.delete(tool);
    if (lost === null) return;
    const { log } = this.#live;
    const version = this.#live.of(tool)?.release.version;
    log.info({ tool, version, namespace: lost.namespace }, 'live release started in its new namespace');
    calm(log, ['CLUSTER_FORBIDDEN'], { tool });
  }

  #remember({ id, namespace, release: { tool, version } }: Rollout, found: NamespaceState): void {
    const known = this.of(tool);
    if (known === null && found === 'there') return;
    const state = found === 'there' ? 'empty' : found;
    this.#lost.set(tool, { namespace, state, rolloutId: id });
    if (known !== null) return;
    const hint =
      'Create the namespace again, with the rights of this server in it. The live release then starts by itself.';
    this.#live.log.error(
      { tool, version, namespace, state, hint },
      'namespace of a live release was deleted: nothing of the tool runs',
    );
  }
}
