import { calm } from '../../core/alarms.ts';
import { DeployError } from '../../core/errors.ts';
import type { Log } from '../../core/log.ts';
import type { LostPlace } from '../../core/lost-place.ts';
import { type NamespaceState, namespaceState } from '../../kubernetes/namespaces.ts';
import { isNoNamespace, noNamespace } from '../../kubernetes/refusals.ts';
import type { LiveRollouts } from './live.ts';
import { namespaceOf, type Rollout } from './names.ts';
import type { ObjectParts } from './objects.ts';

export interface LostPlacesOptions {
  readonly parts: ObjectParts;
  readonly live: LiveRollouts;
  readonly log: Log;
}

const LOOK_MS = 10_000;

/** The live releases whose namespace others have deleted. Each is told in the log once. */
export class LostPlaces {
  readonly #options: LostPlacesOptions;
  /** By tool. */
  readonly #lost = new Map<string, LostPlace & { readonly rolloutId: string }>();

  constructor(options: LostPlacesOptions) {
    this.#options = options;
  }

  /** Null if the namespace is there, or nothing of the tool is live. */
  of(tool: string): LostPlace | null {
    const lost = this.#lost.get(tool);
    return lost === undefined || lost.rolloutId !== this.#options.live.of(tool)?.id ? null : lost;
  }

  /** The tools that have lost theirs. */
  tools(): string[] {
    return this.#options.live.tools().filter((tool) => this.of(tool) !== null);
  }

  /**
   * Why something failed in the namespace of a tool. Rights in a namespace go with it, so that the API may speak of
   * rights if there is no namespace.
   *
   * @returns a DeployError `NAMESPACE_MISSING` or `NAMESPACE_LEAVING` if that is why; otherwise the error as it is.
   */
  async explain(tool: string, error: unknown): Promise<unknown> {
    if (!isNoNamespace(error) && !(error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN'))
      return error;
    const said = isNoNamespace(error) ? (error.code === 'NAMESPACE_MISSING' ? 'gone' : 'leaving') : null;
    const state = await this.look(tool, said);
    const { tool_namespace_prefix } = this.#options.parts.config;
    return state === null || state === 'there'
      ? error
      : noNamespace(namespaceOf(tool, tool_namespace_prefix), state, error);
  }

  /**
   * Looks for the namespace of a tool, and remembers what it finds.
   *
   * @param otherwise - What counts if this server may not look, or gets no answer.
   */
  async look(tool: string, otherwise: NamespaceState | null = null): Promise<NamespaceState | null> {
    const { parts, live } = this.#options;
    const { cluster, config, closing } = parts;
    const namespace = namespaceOf(tool, config.tool_namespace_prefix);
    const call = { signal: closing, timeoutMs: LOOK_MS };
    const state = (await namespaceState(cluster, namespace, call).catch(() => null)) ?? otherwise;
    const rollout = live.of(tool);
    if (rollout !== null && state !== null) this.#remember(rollout, state);
    return state;
  }

  /** All of the live release is there. */
  restored(tool: string): void {
    const lost = this.of(tool);
    this.#lost.delete(tool);
    if (lost === null) return;
    const { live, log } = this.#options;
    const version = live.of(tool)?.release.version;
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
      'Make it again, with the rights of this server in it: the live release then starts by itself.';
    this.#options.log.error(
      { tool, version, namespace, state, hint },
      'namespace of a live release was deleted: nothing of the tool runs',
    );
  }
}
