import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { DeployError, systemCode } from '../core/errors.ts';

export interface ClusterOptions {
  /** The name of a context of the kubeconfig; empty = its current one. */
  readonly context: string;
  /** A file in place of KUBECONFIG and ~/.kube/config; null = the usual places. */
  readonly kubeconfig?: string | null;
  /** Where a pod's files begin, for the service account's; `/` unless told. */
  readonly root?: string;
}

export interface LoadedKubeConfig {
  readonly kubeConfig: KubeConfig;
  /** For people: the context, or `in-cluster`. */
  readonly name: string;
  /** The address of the API. */
  readonly server: string;
  /** The namespace of the pod that this server runs in; null outside a cluster. */
  readonly podNamespace: string | null;
}

const SERVICE_ACCOUNT_TOKEN = 'var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * The configuration of the cluster that this server runs in, where it has a service account's token, else the one of
 * KUBECONFIG or ~/.kube/config, whole as far as it can be seen without asking anybody.
 *
 * @throws DeployError `BAD_CLUSTER` where there is none, or not that context: never localhost.
 */
export function loadKubeConfig({ context, kubeconfig = null, root = '/' }: ClusterOptions): LoadedKubeConfig {
  const kubeConfig = new KubeConfig();
  const isInCluster = context === '' && kubeconfig === null && existsSync(join(root, SERVICE_ACCOUNT_TOKEN));
  try {
    if (isInCluster) kubeConfig.loadFromCluster(root === '/' ? '' : root);
    else if (kubeconfig !== null) kubeConfig.loadFromFile(kubeconfig);
    else kubeConfig.loadFromDefault();
  } catch (cause) {
    throw unreadable(cause);
  }
  if (context !== '') kubeConfig.setCurrentContext(context);
  const known = kubeConfig.getContexts().map(({ name }) => name);
  // What the library makes up where it has found nothing.
  if (known.length === 1 && known[0] === 'loaded-context' && isMadeUp(kubeConfig)) {
    throw badCluster(
      'There is no Kubernetes configuration',
      'KUBECONFIG names a file, or ~/.kube/config is there in the folder that HOME names',
    );
  }
  const name = kubeConfig.getCurrentContext();
  if (kubeConfig.getContextObject(name) === null) {
    const what = name ? `The kubeconfig has no context ${name}` : 'The kubeconfig has no current context';
    throw badCluster(what, `kubernetes_context is one of these: ${known.join(', ') || 'none'}`);
  }
  const podNamespace = isInCluster ? (kubeConfig.getContextObject(name)?.namespace ?? null) : null;
  return {
    kubeConfig,
    name: isInCluster ? 'in-cluster' : name,
    server: serverOf(kubeConfig, name),
    podNamespace,
  };
}

/** @returns the address of a context that names what is there. */
function serverOf(kubeConfig: KubeConfig, name: string): string {
  const found = kubeConfig.getCurrentCluster();
  if (found === null)
    throw badCluster(
      `The context ${name} names a cluster that is not there`,
      'its `clusters` hold that name',
    );
  if (kubeConfig.getCurrentUser() === null)
    throw badCluster(`The context ${name} names a user that is not there`, 'its `users` hold that name');
  // Of a service account without the variables that Kubernetes sets in every pod.
  if (found.server.includes('//undefined'))
    throw badCluster(
      'There is a service account’s token but no address of the API server',
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are in the environment',
    );
  if (found.server.startsWith('http:') && !found.skipTLSVerify)
    throw badCluster(`The context ${name} speaks to ${found.server} without TLS`, 'its server has https://');
  return found.server;
}

function isMadeUp(kubeConfig: KubeConfig): boolean {
  return kubeConfig.getCurrentCluster()?.server === 'http://localhost:8080';
}

/** Why the library could not read it. Nothing of the file is quoted: it holds tokens. */
function unreadable(cause: unknown): DeployError {
  const code = systemCode(cause);
  if (code !== null) {
    const path = cause instanceof Error && 'path' in cause ? ` ${cause.path}` : '';
    const wanted = 'it is a file that is there, and the user of this server may read it';
    return badCluster(`The kubeconfig${path} cannot be read (${code})`, wanted, { cause });
  }
  if (cause instanceof Error && cause.name === 'YAMLException') {
    const line = (cause as { mark?: { line?: number } }).mark?.line;
    // Only where there is nothing is there no place.
    const what = line === undefined ? 'is empty' : `is not YAML in line ${line + 1}`;
    return badCluster(`The kubeconfig ${what}`, 'it is the right file, whole');
  }
  const why = cause instanceof Error ? cause.message : String(cause);
  return badCluster(`The kubeconfig is not whole: ${why}`, 'it is the right file, whole', { cause });
}

/** @param wanted - Follows "See that". */
export function badCluster(what: string, wanted: string, options?: ErrorOptions): DeployError {
  return new DeployError('BAD_CLUSTER', `${what}.`, `See that ${wanted}.`, options);
}
