import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { Cluster } from '../../kubernetes/cluster.ts';
import { preflight, type Right } from '../../kubernetes/preflight.ts';
import { namespaceOf } from './manifests/object-names.ts';
import type { ManifestConfig } from './manifests/pod-manifest.ts';

/** The rights that every rollout needs in the namespace of its tool. */
const RIGHTS: readonly Right[] = [
  { group: 'apps', resource: 'deployments', verbs: ['create', 'patch', 'list'] },
  { group: '', resource: 'secrets', verbs: ['create', 'patch'] },
];

/**
 * Checks, before anything is built, that this server has its rights in the tool's namespace.
 *
 * @throws as `preflight` does, except for a missing namespace that this server creates before the rollout.
 */
export async function assertToolNamespace(
  {
    cluster,
    config,
  }: {
    readonly cluster: Cluster;
    readonly config: Pick<ManifestConfig, 'tool_namespace_prefix' | 'make_namespaces'>;
  },
  tool: ToolName,
  signal: AbortSignal,
): Promise<void> {
  const namespace = namespaceOf(tool, config.tool_namespace_prefix);
  await preflight({ cluster, namespace, rights: RIGHTS, signal }).catch((error: unknown) => {
    const isToCome = error instanceof DeployError && error.code === 'NAMESPACE_MISSING';
    if (!isToCome || !config.make_namespaces) throw error;
  });
}
