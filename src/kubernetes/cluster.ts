import {
  AppsV1Api,
  AuthorizationV1Api,
  BatchV1Api,
  CoordinationV1Api,
  CoreV1Api,
  CustomObjectsApi,
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

/** The API of a Kubernetes cluster. A call that takes longer than 30 s ends with a TimeoutError. */
export interface Cluster {
  /** The name of the kubeconfig's context, or `in-cluster`. For people. */
  readonly name: string;
  readonly kubeConfig: KubeConfig;
  /** The namespace of this server's pod. Null unless the server uses its pod's service account. */
  readonly podNamespace: string | null;
  readonly core: CoreV1Api;
  readonly apps: AppsV1Api;
  readonly batch: BatchV1Api;
  readonly networking: NetworkingV1Api;
  readonly authorization: AuthorizationV1Api;
  readonly discovery: DiscoveryV1Api;
  readonly coordination: CoordinationV1Api;
  /** For kinds that the client library does not know, such as metrics of pods. */
  readonly custom: CustomObjectsApi;
  /** Reads and writes objects of any kind. See apply.ts for server-side apply. */
  readonly objects: KubernetesObjectApi;
}

const CALL_MS = 30_000;

/**
 * Returns the API of the cluster that `loadKubeConfig` finds. Sends no request yet.
 *
 * @throws DeployError `BAD_CLUSTER` if there is no configuration, if it cannot be used, or if it lacks the context that
 * `options` names. Never falls back to localhost.
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
    custom: new CustomObjectsApi(configuration),
    objects: new KubernetesObjectApi(configuration),
  };
}

async function withTimeout(request: RequestContext): Promise<RequestContext> {
  request.setSignal(AbortSignal.timeout(CALL_MS));
  return request;
}
