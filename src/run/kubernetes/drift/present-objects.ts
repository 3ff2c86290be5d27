import type { V1ObjectMeta } from '@kubernetes/client-node';
import type { Log } from '../../../core/log/log.ts';
import type { Applied } from '../../../kubernetes/apply.ts';
import type { Cluster } from '../../../kubernetes/cluster.ts';
import { watchObjects } from '../../../kubernetes/watch.ts';
import { LABELS, MANAGED_BY } from '../manifests/object-names.ts';

/** The kind of an object, and the metadata that this server needs. */
export interface PresentObject {
  readonly kind: string;
  readonly metadata: V1ObjectMeta;
}

export interface PresentObjectsListener {
  /** Called with each existing and each new object, and with an object after each of its changes. */
  readonly onState: (object: PresentObject) => void;
  /** Called with the last known state of an object that has been deleted. */
  readonly onGone: (object: PresentObject) => void;
}

// The kinds of objects to watch. Secrets are missing here, because this server has no right to read them.
const PATHS = {
  Deployment: '/apis/apps/v1/deployments',
  Service: '/api/v1/services',
  Ingress: '/apis/networking.k8s.io/v1/ingresses',
  CronJob: '/apis/batch/v1/cronjobs',
  PodDisruptionBudget: '/apis/policy/v1/poddisruptionbudgets',
} as const;

/**
 * Knows which objects of tools exist in the cluster, by one watch for each kind. Requests and keeps only metadata,
 * because a server may have thousands of tools.
 */
export class PresentObjects {
  readonly #listed = new Set<string>();
  readonly #present = new Set<string>();

  /**
   * Watches the kinds of objects in `PATHS` until the signal fires. If the API refuses the watch of a kind, logs this
   * once, and tries again. Logs the next refusal of this kind only if its objects could be listed in between.
   */
  watch(cluster: Cluster, log: Log, listener: PresentObjectsListener, signal: AbortSignal): void {
    for (const [kind, path] of Object.entries(PATHS)) {
      let isTold = false;
      const onRefused = (err: unknown): void => {
        this.#listed.delete(kind);
        if (!isTold)
          log.warn({ err, kind }, 'cannot watch objects of tools; the server asks for each object instead');
        isTold = true;
      };
      watchObjects<{ readonly metadata?: V1ObjectMeta }>(cluster, {
        path,
        labels: `app.kubernetes.io/managed-by=${MANAGED_BY},${LABELS.tool}`,
        signal,
        keep: ({ metadata }) => ({ metadata: withoutFields(metadata) }),
        onState: ({ metadata = {} }) => {
          this.#present.add(keyOf(kind, metadata.namespace, metadata.name));
          listener.onState({ kind, metadata });
        },
        onGone: ({ metadata = {} }) => {
          this.#present.delete(keyOf(kind, metadata.namespace, metadata.name));
          listener.onGone({ kind, metadata });
        },
        onListed: () => {
          isTold = false;
          this.#listed.add(kind);
        },
        onRefused,
      }).catch(onRefused);
    }
  }

  /** True if the object exists. Null if no watch lists the objects of its kind at present. */
  has({ kind, metadata }: Applied<object>): boolean | null {
    if (!this.#listed.has(kind)) return null;
    return this.#present.has(keyOf(kind, metadata.namespace, metadata.name));
  }
}

function withoutFields({ managedFields: _, annotations: __, ...metadata }: V1ObjectMeta = {}): V1ObjectMeta {
  return metadata;
}

function keyOf(kind: string, namespace = '', name = ''): string {
  return `${kind}/${namespace}/${name}`;
}
