import type { Config } from '../../config.ts';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { preflight, type Right } from '../../kubernetes/preflight.ts';

/** The rights that every rollout needs in the namespace of its tool. */
const RIGHTS: readonly Right[] = [
  { group: 'apps', resource: 'deployments', verbs: ['create', 'patch', 'list'] },
  { group: '', resource: 'secrets', verbs: ['create', 'patch'] },
];

/**
 * Checks, before anything is built, that this server has its rights in the tool's namespace, and that the server does
 * not use this namespace itself. A missing namespace is accepted if the server makes namespaces (`make_namespaces`).
 *
 * @throws DeployError `NO_NAMESPACE` if the server uses this namespace itself; `NAMESPACE_MISSING` or
 * `NAMESPACE_LEAVING` if the namespace does not exist or is being deleted; `CLUSTER_FORBIDDEN` if this server lacks a
 * right in the namespace; `CLUSTER_UNREACHABLE` if the cluster does not answer.
 */
export async function assertToolNamespace(
  {
    cluster,
    config,
  }: {
    readonly cluster: Cluster;
    readonly config: Pick<Config, 'make_namespaces' | 'build_namespace'>;
  },
  { tool, namespace }: { readonly tool: ToolName; readonly namespace: string },
  signal: AbortSignal,
): Promise<void> {
  if (namespace === config.build_namespace || namespace === cluster.podNamespace) {
    throw new DeployError(
      'NO_NAMESPACE',
      `the tool ${tool} cannot run on Kubernetes: the server uses the namespace ${namespace} itself`,
      'Create a tool with another name.',
    );
  }
  await preflight({ cluster, namespace, rights: RIGHTS, signal }).catch((error: unknown) => {
    const isToCome = error instanceof DeployError && error.code === 'NAMESPACE_MISSING';
    if (!isToCome || !config.make_namespaces) throw error;
  });
}
