import type { V1Secret, V1SelfSubjectAccessReview } from '@kubernetes/client-node';
import { DeployError } from '../core/errors.ts';
import { applyObject } from './apply.ts';
import type { Cluster } from './cluster.ts';
import { isNoNamespace, mayNot, noNamespace } from './faults/api-refusals.ts';
import { namespaceState } from './namespace-state.ts';
import { retrying } from './retry.ts';

export interface Right {
  /** The API group of the resource. Empty for the core group. */
  readonly group: string;
  /** The resource, for example `jobs` or `pods/log`. */
  readonly resource: string;
  readonly verbs: readonly string[];
}

export interface Preflight {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly rights: readonly Right[];
  readonly signal: AbortSignal;
}

/**
 * Checks that a namespace exists, is not being deleted, and gives this server the rights `rights`. Creates nothing. If
 * the cluster does not let this server find out one of these facts, assumes that all is well, because a later step
 * fails with an error if it is not.
 *
 * @throws DeployError `NAMESPACE_MISSING` or `NAMESPACE_LEAVING` if the namespace does not exist or is being deleted;
 * `CLUSTER_FORBIDDEN` if this server lacks one of the rights; `CLUSTER_UNREACHABLE` if the cluster does not answer.
 */
export async function preflight({ cluster, namespace, rights, signal }: Preflight): Promise<void> {
  // Check the namespace first, because this server may have rights even in a namespace that does not exist.
  await assertNamespace(cluster, namespace, signal);
  await Promise.all(
    rights.flatMap((right) =>
      right.verbs.map((verb) => assertMay(cluster, { ...right, verb, namespace }, signal)),
    ),
  );
}

async function assertNamespace(cluster: Cluster, namespace: string, signal: AbortSignal): Promise<void> {
  const state = await namespaceState(cluster, namespace, { signal });
  if (state === 'there') return;
  if (state !== null) throw noNamespace(namespace, state);
  // This server may not read the namespace. So try to create a Secret in it as a server-side dry run, which may show
  // whether the namespace exists.
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'toolforge-push-preflight', namespace },
  };
  try {
    await applyObject<V1Secret>(cluster, secret, { signal, isDryRun: true });
  } catch (error) {
    // Only a namespace that is missing or being deleted, or an API that does not answer, fails the check. Any other
    // refusal passes, because a quota or a policy may refuse this trial Secret but accept the objects that this server
    // will create.
    const isRefused = error instanceof DeployError && error.code !== 'CLUSTER_UNREACHABLE';
    if (!isRefused || isNoNamespace(error)) throw error;
  }
}

async function assertMay(
  cluster: Cluster,
  asked: { group: string; resource: string; verb: string; namespace: string },
  signal: AbortSignal,
): Promise<void> {
  const { group, verb, namespace } = asked;
  const [resource = '', subresource] = asked.resource.split('/');
  const resourceAttributes = {
    ...{ group, resource, verb, namespace },
    ...(subresource === undefined ? {} : { subresource }),
  };
  const body: V1SelfSubjectAccessReview = { spec: { resourceAttributes } };
  const review = await retrying(() => cluster.authorization.createSelfSubjectAccessReview({ body }), {
    signal,
  }).catch((error: unknown) => {
    if (error instanceof DeployError && error.code === 'CLUSTER_FORBIDDEN') return null;
    throw error;
  });
  if (review?.status?.allowed === false) throw mayNot(`${verb} ${asked.resource}`, namespace);
}
