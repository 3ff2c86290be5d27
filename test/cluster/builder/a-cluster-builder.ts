import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { BuildRequest } from '../../../src/builder/builder.ts';
import { KubernetesBuilder } from '../../../src/builder/kubernetes/kubernetes-builder.ts';
import type { KubernetesBuilderConfig } from '../../../src/builder/kubernetes/kubernetes-builder-config.ts';
import { SOURCE_PATH } from '../../../src/core/network/addresses.ts';
import { progressTo } from '../../../src/core/progress.ts';
import type { Artifact } from '../../../src/core/types.ts';
import { answerText, type Exchange } from '../../../src/http/answer.ts';
import { serveSource } from '../../../src/http/sources/serve-source.ts';
import { type Cluster, connectCluster } from '../../../src/kubernetes/cluster.ts';
import { registryEnvironment } from '../../builder/support/a-builder.ts';
import { buildRequest } from '../../builder/support/build-request.ts';
import { builderImage, registryHost } from '../images.ts';
import { newBuildNamespace } from '../new-build-namespace.ts';

const MIB = 1024 * 1024;

/** A line of the server's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

/**
 * A real builder on the cluster of KUBECONFIG, with a namespace and a registry path of its own. It serves sources at an
 * address that pods can reach.
 */
export class AClusterBuilder implements AsyncDisposable {
  readonly builder: KubernetesBuilder;
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly registry: string;
  readonly data: string;
  /** The output of the last build, as the person who pushes sees it. */
  lines: string[] = [];
  /** The time of each line, on the clock of `performance.now()`. */
  times: number[] = [];
  readonly log: LogLine[] = [];
  /** How often a source was requested. */
  sourcesAsked = 0;
  readonly #server: Server;
  #builds = 0;

  private constructor(made: {
    builder: KubernetesBuilder;
    cluster: Cluster;
    namespace: string;
    registry: string;
    data: string;
    server: Server;
    log: LogLine[];
  }) {
    this.builder = made.builder;
    this.cluster = made.cluster;
    this.namespace = made.namespace;
    this.registry = made.registry;
    this.data = made.data;
    this.log = made.log;
    this.#server = made.server;
  }

  static async open(
    options: {
      config?: Partial<KubernetesBuilderConfig>;
      quietMs?: number;
      patienceMs?: number;
      /** Makes the builder's connection to the cluster. By default, it has the rights of KUBECONFIG. */
      clusterFor?: (namespace: string) => Promise<Cluster>;
    } = {},
  ): Promise<AClusterBuilder> {
    if (registryHost === '') throw new Error('CLUSTER_REGISTRY is not set: this suite needs the cluster');
    const cluster = connectCluster({ context: '' });
    const name = `test-builds-${randomBytes(5).toString('hex')}`;
    const data = await mkdtemp(join(tmpdir(), 'cluster-builder-'));
    const image = options.config?.builder_image ?? (await builderImage());
    await newBuildNamespace(cluster, name);
    const server = createServer().listen(0, process.env['CLUSTER_NODE_IP'] ?? '127.0.0.1');
    await once(server, 'listening');
    const { address, port } = server.address() as AddressInfo;
    const log: LogLine[] = [];
    const registry = `${registryHost}/${name}`;
    const builder = new KubernetesBuilder({
      config: {
        process_types: 20,
        scheduled_processes: 20,
        data,
        build_time: 600_000,
        build_processes: 512,
        build_memory: 2048 * MIB,
        build_disk: 4096 * MIB,
        build_files: 500_000,
        artifact_size: 2048 * MIB,
        build_output: 100 * MIB,
        build_environment: registryEnvironment,
        build_namespace: name,
        builder_image: image,
        run_image: '',
        registry,
        registry_plain_http: [registryHost],
        registry_credentials: null,
        registry_secret: '',
        source_url: '',
        build_cpu: 2000,
        harbor_url: '',
        harbor_user: '',
        harbor_password_file: null,
        harbor_project_size: -1,
        ...options.config,
      },
      cluster: (await options.clusterFor?.(name)) ?? cluster,
      log: pino({ level: 'info' }, { write: (line) => void log.push(JSON.parse(line)) }),
      sourceOrigin: () => `http://${address}:${port}`,
      quietMs: options.quietMs ?? 30_000,
      patienceMs: options.patienceMs ?? 120_000,
    });
    const made = new AClusterBuilder({ builder, cluster, namespace: name, registry, data, server, log });
    server.on('request', (request, response) => {
      const gone = new AbortController();
      response.once('close', () => gone.abort());
      const exchange: Exchange = {
        request,
        response,
        log: pino({ level: 'silent' }),
        signal: gone.signal,
        lingerMs: 0,
        leave: () => {},
      };
      if (request.url !== SOURCE_PATH) return answerText(exchange, 404, 'There is nothing here.\n');
      made.sourcesAsked += 1;
      void serveSource(exchange, builder.sources);
    });
    return made;
  }

  /** All `lines` as one text. */
  get said(): string {
    return this.lines.join('');
  }

  request(source: string | BuildRequest['checkOut'], change: Partial<BuildRequest> = {}): BuildRequest {
    this.#builds += 1;
    return buildRequest(this.#builds, source, change);
  }

  /** Builds a folder of files. `lines` then has the output of this build. */
  build(
    source: string | BuildRequest['checkOut'],
    change: Partial<BuildRequest> = {},
    signal = new AbortController().signal,
  ): Promise<Artifact> {
    this.lines = [];
    this.times = [];
    const progress = progressTo((text) => {
      this.lines.push(text);
      this.times.push(performance.now());
    });
    return this.builder.build(this.request(source, change), progress, signal);
  }

  /** The names of all Jobs, pods and Secrets in the namespace of builds. */
  async leftovers(): Promise<string[]> {
    const { namespace } = this;
    const [jobs, pods, secrets] = await Promise.all([
      this.cluster.batch.listNamespacedJob({ namespace }),
      this.cluster.core.listNamespacedPod({ namespace }),
      this.cluster.core.listNamespacedSecret({ namespace }),
    ]);
    return [
      ...jobs.items.map(({ metadata }) => `job ${metadata?.name}`),
      ...pods.items.map(({ metadata }) => `pod ${metadata?.name}`),
      ...secrets.items.map(({ metadata }) => `secret ${metadata?.name}`),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await this.cluster.core.deleteNamespace({ name: this.namespace });
    await rm(this.data, { recursive: true, force: true });
  }
}
