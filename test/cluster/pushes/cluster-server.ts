import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { type Cluster, connectCluster } from '../../../src/kubernetes/cluster.ts';
import { registryEnvironment } from '../../builder/support/a-builder.ts';
import { TestServer } from '../../support/server.ts';
import { registryHost } from '../images.ts';
import { newBuildNamespace } from '../new-build-namespace.ts';

/** True if the variables CLUSTER_REGISTRY and KUBECONFIG name a cluster, as `cluster env` sets them. */
export function hasCluster(): boolean {
  return registryHost !== '' && process.env['KUBECONFIG'] !== undefined;
}

/** A server on this machine with builds and tools in a cluster, and its own namespaces and registry path. */
export class ClusterServer implements AsyncDisposable {
  readonly server: TestServer;
  readonly cluster: Cluster;
  readonly builds: string;
  /** The prefix of the namespaces of this server's tools, such as `push-3f9a1c-`. */
  readonly prefix: string;

  private constructor(server: TestServer, cluster: Cluster, builds: string, prefix: string) {
    this.server = server;
    this.cluster = cluster;
    this.builds = builds;
    this.prefix = prefix;
  }

  /** @param settings - Additional settings, for example TOOLFORGE_PUSH_BUILD_CPU. */
  static async start(builderImage: string, settings: Record<string, string> = {}): Promise<ClusterServer> {
    const cluster = connectCluster({ context: '' });
    const prefix = `push-${randomBytes(3).toString('hex')}-`;
    const builds = `${prefix}builds`;
    const node = process.env['CLUSTER_NODE_IP'] ?? '127.0.0.1';
    await newBuildNamespace(cluster, builds);
    const server = await TestServer.start({
      // Like `npm start`.
      NODE_OPTIONS: '--max-semi-space-size=1 --max-old-space-size=512',
      KUBECONFIG: process.env['KUBECONFIG'] ?? '',
      TOOLFORGE_PUSH_BUILDER: 'kubernetes',
      TOOLFORGE_PUSH_RUNTIME: 'kubernetes',
      TOOLFORGE_PUSH_HTTP: `${node}:0`,
      // Allows plain HTTP on the address of the node. Only builds use it, to fetch their sources.
      TOOLFORGE_PUSH_TRUSTED_PROXIES: node,
      TOOLFORGE_PUSH_DOMAIN: `${prefix}tools.test`,
      TOOLFORGE_PUSH_BUILD_NAMESPACE: builds,
      TOOLFORGE_PUSH_TOOL_NAMESPACE_PREFIX: prefix,
      TOOLFORGE_PUSH_MAKE_NAMESPACES: 'true',
      TOOLFORGE_PUSH_BUILDER_IMAGE: builderImage,
      TOOLFORGE_PUSH_REGISTRY: `${registryHost}/${prefix}images`,
      TOOLFORGE_PUSH_REGISTRY_PLAIN_HTTP: registryHost,
      TOOLFORGE_PUSH_BUILD_ENVIRONMENT: Object.entries(registryEnvironment)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
      ...settings,
    });
    return new ClusterServer(server, cluster, builds, prefix);
  }

  /** A tool's answer through the ingress controller. */
  async get(tool: string, path = '/'): Promise<{ status: number; body: string }> {
    const ingress = new URL(path, process.env['CLUSTER_INGRESS'] ?? 'http://127.0.0.1:8090');
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
    request(ingress, { headers: { host: `${tool}.${this.prefix}tools.test` }, agent: false })
      .on('response', (response) => {
        text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
      })
      .on('error', reject)
      .end();
    return await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    const { items } = await this.cluster.core.listNamespace();
    const names = items.map(({ metadata }) => metadata?.name ?? '');
    for (const name of names.filter((one) => one.startsWith(this.prefix))) {
      await this.cluster.core.deleteNamespace({ name });
    }
  }
}
