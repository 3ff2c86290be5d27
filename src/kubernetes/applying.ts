import { type KubernetesObject, PatchStrategy } from '@kubernetes/client-node';
import type { Cluster } from './cluster.ts';
import { type Retrying, retrying } from './retrying.ts';

/** Whose fields these are, in an object's managedFields. */
export const FIELD_MANAGER = 'toolforge-push';

export type Applied<Kind> = Kind & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
};

/**
 * Server-side apply: the object's fields become as they are here, made where it is not there; fields that others
 * set and that are not here stay. A dry run only asks whether the cluster would take it.
 *
 * @throws as `retrying`.
 * @see https://kubernetes.io/docs/reference/using-api/server-side-apply/
 */
export async function applyObject<Kind extends KubernetesObject>(
  cluster: Cluster,
  object: Applied<Kind>,
  options: Retrying & { readonly isDryRun?: boolean },
): Promise<Kind> {
  return await retrying(
    () =>
      cluster.objects.patch<Kind>(
        object,
        undefined,
        options.isDryRun === true ? 'All' : undefined,
        FIELD_MANAGER,
        true,
        PatchStrategy.ServerSideApply,
      ),
    options,
  );
}
