import { hostname } from 'node:os';
import type { Config } from './config.ts';
import type { DeployError } from './core/errors.ts';
import type { Log } from './core/log/log.ts';

/** The right to be the only server of an installation. */
export interface Claim {
  readonly pod: { readonly namespace: string; readonly name: string };
  /** Gives up the claim, so that another server of this installation can start immediately. Never throws. */
  release(): Promise<void>;
}

export interface ClaimOptions {
  readonly config: Pick<Config, 'runtime' | 'kubernetes_context'>;
  readonly log: Log;
  /**
   * Called once if this server loses its claim to be the only server of the installation: another server has the claim,
   * or the cluster has refused to renew it until it expired.
   */
  readonly onLost: (why: DeployError) => void;
}

/**
 * Makes sure that this is the only server of the installation before the server opens anything. Only a server in a pod
 * with `runtime: kubernetes` needs a claim. Elsewhere the lock of the data folder is enough, so the claim is null.
 *
 * @throws DeployError `BAD_CLUSTER` if the kubeconfig is wrong; `NOT_FIRST` if the pod is not the first of its
 * StatefulSet; `ANOTHER_SERVER` if another server runs; `NO_LEASE` if the cluster does not let this server make a
 * claim.
 */
export async function claimInstallation({ config, log, onLost }: ClaimOptions): Promise<Claim | null> {
  if (config.runtime !== 'kubernetes') return null;
  const [{ connectCluster }, { ServerLease }] = await Promise.all([
    import('./kubernetes/cluster.ts'),
    import('./kubernetes/server-lease.ts'),
  ]);
  const cluster = connectCluster({ context: config.kubernetes_context });
  const namespace = cluster.podNamespace;
  if (namespace === null) return null;
  const podName = hostname();
  const lease = await ServerLease.take({ cluster, namespace, podName, log, onLost });
  return { pod: { namespace, name: podName }, release: () => lease.release() };
}
