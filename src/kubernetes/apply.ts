import { ApiException, type KubernetesObject, PatchStrategy } from '@kubernetes/client-node';
import type { Cluster } from './cluster.ts';
import { isNotFound, statusOf } from './faults/api-refusals.ts';
import { type Retrying, retrying } from './retry.ts';

/** The name by which an object's managedFields list this server. */
export const FIELD_MANAGER = 'toolforge-push';

export type Applied<Kind> = Kind & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
};

/**
 * Creates or updates an object by server-side apply: sets the fields that `object` has, even if others have set them.
 * Keeps other fields that others have set. A server-side dry run only checks whether the cluster would accept the
 * object.
 *
 * @throws DeployError if the API refuses or does not answer in time; the reason of the signal when it fires.
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

/**
 * Creates or updates an object by server-side apply. Changes nothing if somebody else has set one of the object's
 * fields to another value. A server-side dry run changes nothing at all.
 *
 * @returns the object. Null if somebody else has set one of its fields to another value.
 * @throws DeployError if the API refuses or does not answer in time; the reason of the signal when it fires.
 */
export async function applyUnlessChanged<Kind extends KubernetesObject>(
  cluster: Cluster,
  object: Applied<Kind>,
  options: Retrying & { readonly isDryRun?: boolean },
): Promise<Kind | null> {
  return await retrying(async () => {
    try {
      return await cluster.objects.patch<Kind>(
        object,
        undefined,
        options.isDryRun === true ? 'All' : undefined,
        FIELD_MANAGER,
        false,
        PatchStrategy.ServerSideApply,
      );
    } catch (error) {
      if (isFieldConflict(error)) return null;
      throw error;
    }
  }, options);
}

/**
 * Reads an object of the cluster, or returns null if it does not exist. Needs only the right to patch the object,
 * because this makes an empty change as a server-side dry run.
 *
 * @throws DeployError if the API refuses or does not answer in time; the reason of the signal when it fires.
 */
export async function findObject<Kind extends KubernetesObject>(
  cluster: Cluster,
  { apiVersion, kind, metadata: { name, namespace } }: Applied<Kind>,
  options: Retrying,
): Promise<KubernetesObject | null> {
  const nothing = { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
  try {
    return await retrying(
      () =>
        cluster.objects.patch(nothing, undefined, 'All', FIELD_MANAGER, undefined, PatchStrategy.MergePatch),
      options,
    );
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

function isFieldConflict(error: unknown): boolean {
  if (!(error instanceof ApiException) || error.code !== 409) return false;
  return /Apply failed with \d+ conflict/.test(statusOf(error).message);
}
