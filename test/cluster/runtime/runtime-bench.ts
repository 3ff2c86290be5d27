import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createLog, type Log } from '../../../src/core/log/log.ts';
import type { Artifact, Process } from '../../../src/core/types.ts';
import { type Cluster, connectCluster } from '../../../src/kubernetes/cluster.ts';
import {
  KubernetesRuntime,
  type KubernetesRuntimeOptions,
} from '../../../src/run/kubernetes/kubernetes-runtime.ts';
import type { Answer, RuntimeBench } from '../../contracts/runtime.ts';
import { scheduleRecords } from '../../support/schedule-records.ts';
import { runImage } from '../images.ts';
import { layeredImage } from './layered-image.ts';

export interface ClusterBench extends RuntimeBench {
  readonly runtime: KubernetesRuntime;
  readonly cluster: Cluster;
  readonly config: KubernetesRuntimeOptions['config'];
  /** The prefix of the names of all namespaces, for example `rt-3f9a-`. */
  readonly prefix: string;
  /** Starts another server. On the data folder of an earlier server, it is like this server after a restart. */
  startAnother(folder: string): KubernetesRuntime;
}

export interface ClusterBenchOptions {
  readonly config?: Partial<KubernetesRuntimeOptions['config']>;
  /** The connection to the cluster. If not set, it comes from the kubeconfig. */
  readonly cluster?: Cluster;
  /** The server's log. If not set, only errors are logged, to standard output. */
  readonly log?: Log;
}

const registry = process.env['CLUSTER_REGISTRY'] ?? '';
const ingress = new URL(process.env['CLUSTER_INGRESS'] ?? 'http://127.0.0.1:8090');
const DOMAIN = 'tools.test';

/** A KubernetesRuntime on the kubeconfig's cluster. Its tools are reached through the ingress controller. */
export async function clusterBench(options: ClusterBenchOptions = {}): Promise<ClusterBench> {
  const data = await mkdtemp(join(tmpdir(), 'toolforge-push-cluster-'));
  const prefix = `rt-${randomBytes(2).toString('hex')}-`;
  const domain = `${prefix}${DOMAIN}`;
  const cluster = options.cluster ?? connectCluster({ context: '' });
  const config: KubernetesRuntimeOptions['config'] = {
    data: join(data, 'main'),
    build_namespace: 'toolforge-push-builds',
    domain,
    public_url: '',
    // On a busy node, Python takes seconds to start.
    health_time: 10_000,
    release_time: 3000,
    schedule_time: 60_000,
    // On a busy node, Python takes a second and more to start before it exits.
    settle_time: 1800,
    drain_time: 5000,
    grace_time: 3000,
    run_memory: 256 * 1024 * 1024,
    log_size: 1024 * 1024,
    build_environment: {},
    concurrent_one_offs: 2,
    one_off_time: 60_000,
    tool_namespace_prefix: prefix,
    make_namespaces: true,
    ingress_namespace: 'kube-system',
    tool_networks_in: [],
    tool_networks_out: [],
    ingress_class: '',
    ingress_annotations: {},
    ingress_tls_secret: '',
    ingress_url: `http://TOOL.DOMAIN:${ingress.port}/`,
    ingress_time: 1500,
    pod_uid: 0,
    pod_cpu: '1',
    pod_cpu_reserved: '10m',
    pod_memory_reserved: 0,
    pod_disk: 100 * 1024 * 1024,
    pod_disk_reserved: 10 * 1024 * 1024,
    namespace_pods: 64,
    pod_start_time: 60_000,
    image_pull_secrets: [],
    dumps_claim: '',
    replica_secret: '',
    config_vars_secret: '',
    ...options.config,
  };
  const schedules = scheduleRecords();
  const start = (folder: string | null) =>
    new KubernetesRuntime({
      cluster,
      config: folder === null ? config : { ...config, data: join(data, folder) },
      httpOrigin: () => 'http://127.0.0.1:1',
      schedules: schedules.records,
      log: options.log ?? createLog('error'),
    });
  const runtime = start(null);
  const agent = new Agent({ keepAlive: true });
  const others: KubernetesRuntime[] = [];
  return {
    paused: schedules.paused,
    ended: schedules.ended,
    rollOutSeconds: 25,
    runtime,
    cluster,
    config,
    prefix,
    startAnother: (folder) => {
      const another = start(folder);
      others.push(another);
      return another;
    },
    artifact: (files, processes, path) => artifactOf(files, processes, path ?? null),
    request: (tool, path) => get({ agent, host: `${tool}.${domain}`, path }),
    // The test cannot move the cluster's clock, and waits for the run instead.
    passMinute: async () => {},
    close: async () => {
      await Promise.all([runtime, ...others].map((one) => one.close()));
      agent.destroy();
      await deleteNamespaces(cluster, prefix);
      await rm(data, { recursive: true, force: true });
    },
  };
}

let artifacts = 0;

/** An image like a builder's: the source in /workspace, and a launcher for each process type. */
export async function artifactOf(
  files: Readonly<Record<string, string>>,
  processes: readonly Process[],
  healthCheckPath: string | null,
): Promise<Artifact> {
  artifacts += 1;
  const sources = Object.entries(files).map(([name, content]) => [`/workspace/${name}`, content]);
  const launchers = processes.map(({ type, command }) => [
    `/cnb/process/${type}`,
    `#!/bin/sh\ncd /workspace\nexec ${command.map(quoted).join(' ')}\n`,
  ]);
  // Like the lifecycle's launcher: with `--` it runs the words that follow.
  launchers.push([
    '/cnb/lifecycle/launcher',
    '#!/bin/sh\ncd /workspace\n[ "$1" = -- ] && shift\nexec "$@"\n',
  ]);
  return {
    id: `a${artifacts}`,
    kind: 'image',
    reference: await layeredImage({
      registry,
      base: await runImage(),
      repository: 'test/runtime',
      files: Object.fromEntries([...sources, ...launchers]),
    }),
    processes,
    buildpacks: ['toolforge/python 3.11.2'],
    service: { healthCheckPath },
    bytes: 1,
  };
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

export interface Get {
  readonly agent: Agent;
  readonly host: string;
  readonly path: string;
}

/** Sends a request to the ingress controller like a browser. */
export function get({ agent, host, path }: Get): Promise<Answer> {
  const { hostname, port } = ingress;
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: hostname, port, agent, path, headers: { host } }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    outgoing.once('error', reject).end();
  });
}

export async function deleteNamespaces(cluster: Cluster, prefix: string): Promise<void> {
  const { items } = await cluster.core.listNamespace();
  const names = items.map(({ metadata }) => metadata?.name ?? '').filter((name) => name.startsWith(prefix));
  await Promise.all(names.map((name) => cluster.core.deleteNamespace({ name })));
}
