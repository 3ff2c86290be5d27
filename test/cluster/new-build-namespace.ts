import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../../src/kubernetes/cluster.ts';

/**
 * Makes a namespace for builds, with Pod Security `restricted`, and waits until it has a service account. Without the
 * account, no pod can be made. A controller that has lost the API needs some seconds to make the account.
 *
 * @throws if there is no account after two minutes.
 */
export async function newBuildNamespace({ core }: Cluster, name: string): Promise<void> {
  await core.createNamespace({
    body: { metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } },
  });
  const until = Date.now() + 120_000;
  while ((await core.listNamespacedServiceAccount({ namespace: name })).items.length === 0) {
    if (Date.now() > until) throw new Error(`the cluster makes no service account in ${name}`);
    await sleep(100);
  }
}
