import { DeployError } from '../core/errors.ts';
import type { Cluster } from './cluster.ts';
import { type Retrying, retrying } from './retry.ts';

export type NamespaceState = 'there' | 'leaving' | 'gone';

/**
 * Reads whether a namespace exists, is being deleted or does not exist. Null if this server may not read it.
 *
 * @throws DeployError if the API refuses or does not answer in time; the reason of the signal when it fires.
 */
export async function namespaceState(
  cluster: Cluster,
  name: string,
  options: Retrying,
): Promise<NamespaceState | null> {
  try {
    const { metadata } = await retrying(() => cluster.core.readNamespace({ name }), options);
    return metadata?.deletionTimestamp === undefined ? 'there' : 'leaving';
  } catch (error) {
    const code = error instanceof DeployError ? error.code : null;
    if (code === 'NAMESPACE_MISSING') return 'gone';
    if (code === 'CLUSTER_FORBIDDEN') return null;
    throw error;
  }
}
