import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { DeployError, systemCode } from '../core/errors.ts';

export interface ClusterOptions {
  /** The name of a context of the kubeconfig. Empty for the current context. */
  readonly context: string;
  /** The path of a kubeconfig file. Null to use KUBECONFIG, ~/.kube/config or the pod's service account instead. */
  readonly kubeconfig?: string | null;
  /** The folder below which the files of the service account are; by default `/`. */
  readonly root?: string;
}

export interface LoadedKubeConfig {
  readonly kubeConfig: KubeConfig;
  /** The name of the kubeconfig's context, or `in-cluster`. For people. */
  readonly name: string;
  /** The address of the cluster's API server. */
  readonly server: string;
  /** The namespace of this server's pod. Null unless the server uses its pod's service account. */
  readonly podNamespace: string | null;
}

const SERVICE_ACCOUNT_TOKEN = 'var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * Loads the configuration of the cluster. If `options` name neither a context nor a file, and this server runs in a pod
 * with a service account's token, uses the cluster of the pod. Otherwise uses the named file, or KUBECONFIG or
 * ~/.kube/config. Checks the configuration as far as possible without a request.
 *
 * @throws DeployError `BAD_CLUSTER` if there is no configuration, if it cannot be used, or if it lacks the named
 * context. Never falls back to localhost.
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
  // The Kubernetes library invents the context `loaded-context` if it has found no configuration.
  if (known.length === 1 && known[0] === 'loaded-context' && isMadeUp(kubeConfig)) {
    throw badCluster(
      'there is no Kubernetes configuration',
      'KUBECONFIG names a file, or ~/.kube/config exists in the folder that HOME names',
    );
  }
  const name = kubeConfig.getCurrentContext();
  if (kubeConfig.getContextObject(name) === null) {
    const what = name ? `the kubeconfig has no context ${name}` : 'the kubeconfig has no current context';
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

/** Checks that the cluster and the user of a context exist. @returns the address of the cluster's API. */
function serverOf(kubeConfig: KubeConfig, name: string): string {
  const found = kubeConfig.getCurrentCluster();
  if (found === null)
    throw badCluster(
      `the context ${name} names a cluster that does not exist`,
      'the `clusters` of the kubeconfig have this name',
    );
  if (kubeConfig.getCurrentUser() === null)
    throw badCluster(
      `the context ${name} names a user that does not exist`,
      'the `users` of the kubeconfig have this name',
    );
  // The Kubernetes library puts `undefined` into the address if there is a service account's token, but no
  // KUBERNETES_SERVICE_HOST in the environment.
  if (found.server.includes('//undefined'))
    throw badCluster(
      'there is a service account’s token but no address of the API server',
      'KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are in the environment',
    );
  if (found.server.startsWith('http:') && !found.skipTLSVerify)
    throw badCluster(
      `the context ${name} would connect to ${found.server} without TLS`,
      'its server begins with https://',
    );
  return found.server;
}

function isMadeUp(kubeConfig: KubeConfig): boolean {
  return kubeConfig.getCurrentCluster()?.server === 'http://localhost:8080';
}

/**
 * Returns an error that says why the kubeconfig could not be read. The error never quotes the file, because it
 * may hold tokens.
 */
function unreadable(cause: unknown): DeployError {
  const code = systemCode(cause);
  if (code !== null) {
    const path = cause instanceof Error && 'path' in cause ? ` ${cause.path}` : '';
    const wanted = 'the file exists, and the user of this server may read it';
    return badCluster(`the kubeconfig${path} cannot be read (${code})`, wanted, { cause });
  }
  if (cause instanceof Error && cause.name === 'YAMLException') {
    const line = (cause as { mark?: { line?: number } }).mark?.line;
    // The error of the YAML library lacks a line number only if the file is empty.
    const problem = line === undefined ? 'is empty' : `is not YAML in line ${line + 1}`;
    return badCluster(`the kubeconfig ${problem}`, 'it is the right file, and complete');
  }
  const why = cause instanceof Error ? cause.message : String(cause);
  return badCluster(`the kubeconfig is not complete: ${why}`, 'it is the right file, and complete', {
    cause,
  });
}

/** Returns the error for a bad kubeconfig. @param wanted - Continues the hint "See that". */
export function badCluster(what: string, wanted: string, options?: ErrorOptions): DeployError {
  return new DeployError('BAD_CLUSTER', what, `See that ${wanted}.`, options);
}
