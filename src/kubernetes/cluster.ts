import { existsSync } from 'node:fs';
import {
  AppsV1Api,
  BatchV1Api,
  CoreV1Api,
  createConfiguration,
  DiscoveryV1Api,
  KubeConfig,
  KubernetesObjectApi,
  NetworkingV1Api,
  type RequestContext,
  type ResponseContext,
  ServerConfiguration,
} from '@kubernetes/client-node';
import { DeployError } from '../core/errors.ts';

export interface ClusterOptions {
  /** The name of a context of the kubeconfig; empty = its current one. */
  readonly context: string;
  /** A file in place of KUBECONFIG and ~/.kube/config; null = the usual places. */
  readonly kubeconfig?: string | null;
}

/** A cluster's API. Every call ends after 30 s at the latest, with a TimeoutError. */
export interface Cluster {
  /** For people: the context, or `in-cluster`. */
  readonly name: string;
  readonly kubeConfig: KubeConfig;
  readonly core: CoreV1Api;
  readonly apps: AppsV1Api;
  readonly batch: BatchV1Api;
  readonly networking: NetworkingV1Api;
  readonly discovery: DiscoveryV1Api;
  /** Any kind of object; for server-side apply see applying.ts. */
  readonly objects: KubernetesObjectApi;
}

const CALL_MS = 30_000;
const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * The cluster that this server runs in, where it has a service account's token, else the one of KUBECONFIG or
 * ~/.kube/config. Nothing is asked of it yet.
 *
 * @throws DeployError `BAD_CLUSTER` where there is no configuration or not that context: never localhost.
 */
export function connectCluster({ context, kubeconfig = null }: ClusterOptions): Cluster {
  const kubeConfig = new KubeConfig();
  const isInCluster = context === '' && kubeconfig === null && existsSync(SERVICE_ACCOUNT_TOKEN);
  try {
    if (isInCluster) kubeConfig.loadFromCluster();
    else if (kubeconfig !== null) kubeConfig.loadFromFile(kubeconfig);
    else kubeConfig.loadFromDefault();
  } catch (cause) {
    throw badCluster('The kubeconfig cannot be read', 'it is there and is valid YAML', { cause });
  }
  if (context !== '') kubeConfig.setCurrentContext(context);
  const known = kubeConfig.getContexts().map(({ name }) => name);
  // What the library makes up where it has found nothing.
  if (known.length === 1 && known[0] === 'loaded-context' && isMadeUp(kubeConfig)) {
    throw badCluster(
      'There is no Kubernetes configuration',
      'KUBECONFIG names a file, or ~/.kube/config is there',
    );
  }
  const name = kubeConfig.getCurrentContext();
  if (kubeConfig.getContextObject(name) === null) {
    const what = name ? `The kubeconfig has no context ${name}` : 'The kubeconfig has no current context';
    throw badCluster(what, `kubernetes_context is one of these: ${known.join(', ') || 'none'}`);
  }
  const found = kubeConfig.getCurrentCluster();
  if (found === null) {
    throw badCluster(
      `The context ${name} names a cluster that is not there`,
      'its `clusters` hold that name',
    );
  }
  if (found.server.startsWith('http:') && !found.skipTLSVerify) {
    throw badCluster(`The context ${name} speaks to ${found.server} without TLS`, 'its server has https://');
  }
  return clusterOf(kubeConfig, found.server, isInCluster ? 'in-cluster' : name);
}

function clusterOf(kubeConfig: KubeConfig, server: string, name: string): Cluster {
  const configuration = createConfiguration({
    baseServer: new ServerConfiguration(server, {}),
    authMethods: { default: kubeConfig },
    promiseMiddleware: [{ pre: withTimeout, post: async (response: ResponseContext) => response }],
  });
  return {
    name,
    kubeConfig,
    core: new CoreV1Api(configuration),
    apps: new AppsV1Api(configuration),
    batch: new BatchV1Api(configuration),
    networking: new NetworkingV1Api(configuration),
    discovery: new DiscoveryV1Api(configuration),
    objects: new KubernetesObjectApi(configuration),
  };
}

async function withTimeout(request: RequestContext): Promise<RequestContext> {
  request.setSignal(AbortSignal.timeout(CALL_MS));
  return request;
}

function isMadeUp(kubeConfig: KubeConfig): boolean {
  return kubeConfig.getCurrentCluster()?.server === 'http://localhost:8080';
}

function badCluster(what: string, wanted: string, options?: ErrorOptions): DeployError {
  return new DeployError('BAD_CLUSTER', `${what}.`, `See that ${wanted}.`, options);
}
