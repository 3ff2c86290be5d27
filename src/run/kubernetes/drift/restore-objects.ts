import type { KubernetesObject, V1Deployment, V1Secret } from '@kubernetes/client-node';
import { scalable } from '../../../core/replicas.ts';
import { type Applied, applyObject, findObject } from '../../../kubernetes/apply.ts';
import type { Retrying } from '../../../kubernetes/retry.ts';
import { maintenanceDeployment } from '../maintenance/maintenance-manifests.ts';
import { cronJobs } from '../manifests/cron-job-manifests.ts';
import { policyOf } from '../manifests/network-policy.ts';
import { COMPONENT, LABELS, LIVE, MAINTENANCE } from '../manifests/object-names.ts';
import {
  disruptionBudget,
  hasAddress,
  ingress,
  ownedBy,
  ownersOfConfig,
  type ReleaseOptions,
  rolloutObjects,
} from '../manifests/rollout-manifests.ts';
import { serviceNow } from '../rollout/service-traffic.ts';
import { ensureNamespace, type ObjectParts } from '../rollout-objects.ts';
import type { PresentObjects } from './present-objects.ts';

export type RestoringParts = ObjectParts & { readonly present: PresentObjects };

/** A missing object of a live rollout. */
export interface Missing {
  readonly kind: string;
  readonly name: string;
  /**
   * The type of the process that the object belongs to: `web` for the Service and the Ingress. Null for the Secret and
   * the NetworkPolicy, which belong to no single process. `maintenance.page`, which is no valid process type, for the
   * Deployment of the maintenance page.
   */
  readonly type: string | null;
}

type Any = Applied<KubernetesObject>;

/** Finds and restores the missing objects of a live rollout. */
export class Gaps {
  readonly #parts: RestoringParts;
  readonly #options: ReleaseOptions;
  readonly #call: Retrying;
  readonly #secret: Applied<V1Secret> | null;
  readonly #deployments: readonly Applied<V1Deployment>[];
  readonly #missing = new Set<Any>();

  private constructor(parts: RestoringParts, options: ReleaseOptions, call: Retrying) {
    const { config, deployments } = rolloutObjects(options);
    this.#parts = parts;
    this.#options = options;
    this.#call = call;
    this.#secret = config;
    this.#deployments = deployments;
  }

  /**
   * Looks in the cluster for each object that the rollout needs, except disruption budgets. An object that is being
   * deleted counts as existing.
   *
   * @throws DeployError if the API refuses the call or does not answer; the reason of `call.signal` when it fires.
   */
  static async of(parts: RestoringParts, options: ReleaseOptions, call: Retrying): Promise<Gaps> {
    const gaps = new Gaps(parts, options, call);
    for (const object of gaps.#wanted()) {
      if (!(await gaps.#isThere(object))) gaps.#missing.add(object);
    }
    return gaps;
  }

  get missing(): Missing[] {
    return [...this.#missing].map((object) => ({
      kind: object.kind,
      name: object.metadata.name,
      type: typeOf(object),
    }));
  }

  /**
   * Creates the missing objects and missing disruption budgets. Leaves other objects of the rollout as they are, except
   * the Secret: it is written again if a Deployment was missing.
   *
   * @throws DeployError if the API refuses the call or does not answer; the reason of the given signal when it fires.
   */
  async restore(): Promise<void> {
    const { cluster } = this.#parts;
    if (this.missing.some(({ kind }) => kind === 'NetworkPolicy'))
      await ensureNamespace(this.#parts, this.#options.rollout, this.#call.signal);
    const secret = this.#secret;
    const deployments = this.#deployments.filter((one) => this.#missing.has(one));
    if (secret !== null && (deployments.length > 0 || this.#missing.has(secret))) {
      // Create the Secret before the Deployments, because the pods of the Deployments need the Secret. When the
      // Deployments exist, the server makes them the owners of the Secret.
      await applyObject(cluster, secret, this.#call);
      for (const one of deployments) await applyObject(cluster, markedLive(one), this.#call);
      const ownerReferences = ownersOfConfig(this.#options.rollout, await this.#present());
      const { metadata } = secret;
      if (ownerReferences.length > 0) {
        const owned = { ...secret, metadata: { ...metadata, ownerReferences } };
        await applyObject<V1Secret>(cluster, owned, this.#call);
      }
    }
    await this.makeBudgets();
    const made: readonly Any[] = [...this.#deployments, ...(secret === null ? [] : [secret])];
    for (const object of this.#missing) {
      const isMade = object.kind === 'NetworkPolicy' || made.includes(object);
      if (!isMade) await applyObject(cluster, object, this.#call);
    }
  }

  /**
   * Creates missing disruption budgets. Rollouts that older versions of this server started have none.
   *
   * @throws DeployError if the API refuses the call or does not answer; the reason of the given signal when it fires.
   */
  async makeBudgets(): Promise<void> {
    const { cluster, present } = this.#parts;
    for (const deployment of this.#deployments) {
      const kind = 'PodDisruptionBudget';
      const isThere = present.has({ ...deployment, apiVersion: 'policy/v1', kind });
      if (isThere === true && !this.#missing.has(deployment)) continue;
      const found = await findObject(cluster, deployment, this.#call);
      for (const owner of ownedBy(found === null ? [] : [found as V1Deployment])) {
        await applyObject(cluster, disruptionBudget(deployment, owner), this.#call);
      }
    }
  }

  /** Reads the Deployments of the rollout from the cluster. */
  async #present(): Promise<V1Deployment[]> {
    const found = await Promise.all(
      this.#deployments.map((one) => findObject(this.#parts.cluster, one, this.#call)),
    );
    return found.filter((one) => one !== null) as V1Deployment[];
  }

  #wanted(): Any[] {
    const { rollout, config } = this.#options;
    const { namespace, release, id } = rollout;
    const { tool } = release;
    const isInMaintenance = this.#parts.isInMaintenance?.(tool) === true;
    const hasWay = isInMaintenance || scalable(release).some(({ type }) => type === 'web');
    const way = [
      serviceNow(this.#parts, { tool, namespace, rolloutId: id }),
      ...(hasAddress(tool, config) ? [ingress({ tool, namespace }, config)] : []),
    ];
    return [
      ...(config.make_namespaces ? [policyOf(namespace)] : []),
      ...(this.#secret === null ? [] : [this.#secret]),
      ...this.#deployments,
      ...cronJobs(this.#options),
      ...(isInMaintenance
        ? [maintenanceDeployment({ ...rollout, toolNumber: this.#options.toolNumber, config })]
        : []),
      ...(hasWay ? way : []),
    ];
  }

  /**
   * True if the object exists. If the watch does not know the object, asks the API, because the watch may not have
   * reported a new object yet.
   */
  async #isThere(object: Any): Promise<boolean> {
    const { cluster, present } = this.#parts;
    return present.has(object) === true || (await findObject(cluster, object, this.#call)) !== null;
  }
}

function markedLive(deployment: Applied<V1Deployment>): Applied<V1Deployment> {
  const { metadata } = deployment as V1Deployment & Applied<V1Deployment>;
  return {
    ...deployment,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [LIVE]: 'true' } },
  } as Applied<V1Deployment>;
}

function typeOf({ kind, metadata }: Any): string | null {
  if (kind === 'Secret' || kind === 'NetworkPolicy') return null;
  const { labels } = metadata as { readonly labels?: Record<string, string> };
  if (labels?.[COMPONENT] === MAINTENANCE) return 'maintenance.page';
  return labels?.[LABELS.process] ?? 'web';
}
