import { alarmAbout } from '../../core/log/alarms.ts';
import type { Log } from '../../core/log/log.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { isNoNamespace } from '../../kubernetes/faults/api-refusals.ts';
import { preflight, type Right } from '../../kubernetes/preflight.ts';
import type { BuilderImages } from './images/builder-image.ts';
import { buildNamespaceUnusable } from './output/job-failures.ts';

const RIGHTS: readonly Right[] = [
  { group: 'batch', resource: 'jobs', verbs: ['create', 'patch', 'list', 'watch', 'delete'] },
  { group: '', resource: 'secrets', verbs: ['create', 'patch'] },
  { group: '', resource: 'pods', verbs: ['list', 'watch'] },
  { group: '', resource: 'pods/log', verbs: ['get'] },
];
const FRESH_MS = 60_000;

const START_MS = 30_000;

export interface BuildNamespaceOptions {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly images: BuilderImages;
  /** The reference to the builder image, from the setting builder_image. */
  readonly image: string;
  readonly log: Log;
}

/** Checks what every build in the cluster needs: the namespace, this server's rights in it, and the builder image. */
export class BuildNamespace {
  readonly #options: BuildNamespaceOptions;
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(options: BuildNamespaceOptions) {
    this.#options = options;
  }

  /**
   * Checks before a build that the namespace, the rights in it and the builder image are usable. After a check that
   * succeeded, does not check again for a minute.
   *
   * @throws DeployError `BUILD_NAMESPACE` if the namespace does not exist or is being deleted; `CLUSTER_FORBIDDEN` if a
   * right is missing; `CLUSTER_UNREACHABLE` if the cluster does not answer; `BAD_IMAGE`, `BUILDER_IMAGE`,
   * `REGISTRY_UNAVAILABLE` or `REGISTRY_REFUSED` if the builder image cannot be used.
   */
  async assertUsable(signal: AbortSignal): Promise<void> {
    for (const check of await this.#check(signal)) if (check.status === 'rejected') throw check.reason;
  }

  /** Called when the server starts: logs why builds cannot run, before anybody pushes. Never rejects. */
  async checkAtStart(): Promise<void> {
    const { log } = this.#options;
    for (const check of await this.#check(AbortSignal.timeout(START_MS))) {
      if (check.status === 'fulfilled' || alarmAbout(log, check.reason, {})) continue;
      log.warn({ err: check.reason }, 'cannot check whether builds can run in the build namespace');
    }
  }

  async #check(signal: AbortSignal): Promise<PromiseSettledResult<unknown>[]> {
    const { images, image } = this.#options;
    return await Promise.allSettled([this.#assertNamespace(signal), images.find(image, signal)]);
  }

  async #assertNamespace(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#checkedAt < FRESH_MS) return;
    const { cluster, namespace } = this.#options;
    await preflight({ cluster, namespace, rights: RIGHTS, signal }).catch((error: unknown) => {
      throw isNoNamespace(error) ? buildNamespaceUnusable(namespace, error) : error;
    });
    this.#checkedAt = performance.now();
  }
}
