import {
  AppsV1Api,
  AuthorizationV1Api,
  BatchV1Api,
  CoordinationV1Api,
  CoreV1Api,
  createConfiguration,
  DiscoveryV1Api,
  type KubeConfig,
  KubernetesObjectApi,
  NetworkingV1Api,
  type RequestContext,
  type ResponseContext,
  ServerConfiguration,
} from '@kubernetes/client-node';
import { type ClusterOptions, loadKubeConfig } from './kubeconfig.ts';

/** A cluster's API. Every call ends after 30 s at the latest, with a TimeoutError. */
export interface Cluster {
  /** For people: the context, or `in-cluster`. */
  readonly name: string;
  readonly kubeConfig: KubeConfig;
  /** The namespace of the pod that this server runs in; null outside a cluster. */
  readonly podNamespace: string | null;
  readonly core: CoreV1Api;
  readonly apps: AppsV1Api;
  readonly batch: BatchV1Api;
  readonly networking: NetworkingV1Api;
  readonly authorization: AuthorizationV1Api;
  readonly discovery: DiscoveryV1Api;
  readonly coordination: CoordinationV1Api;
  /** Any kind of object; for server-side apply see applying.ts. */
  readonly objects: KubernetesObjectApi;
}

const CALL_MS = 30_000;

/**
 * The cluster that this server runs in, where it has a service account's token, else the one of KUBECONFIG or
 * ~/.kube/config. Nothing is asked of it yet.
 *
 * @throws DeployError `BAD_CLUSTER` where there is no configuration or not that context: never localhost.
 */
export function connectCluster(options: ClusterOptions): Cluster {
  const { kubeConfig, server, name, podNamespace } = loadKubeConfig(options);
  const configuration = createConfiguration({
    baseServer: new ServerConfiguration(server, {}),
    authMethods: { default: kubeConfig },
    promiseMiddleware: [{ pre: withTimeout, post: async (response: ResponseContext) => response }],
  });
  return {
    name,
    kubeConfig,
    podNamespace,
    core: new CoreV1Api(configuration),
    apps: new AppsV1Api(configuration),
    batch: new BatchV1Api(configuration),
    networking: new NetworkingV1Api(configuration),
    authorization: new AuthorizationV1Api(configuration),
    discovery: new DiscoveryV1Api(configuration),
    coordination: new CoordinationV1Api(configuration),
    objects: new KubernetesObjectApi(configuration),
  };
}

async function withTimeout(request: RequestContext): Promise<RequestContext> {
  request.setSignal(AbortSignal.timeout(CALL_MS));
  return request;
}
