import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import type { Artifact } from '../../../src/core/types.ts';
import { applyObject } from '../../../src/kubernetes/apply.ts';
import { type Cluster, connectCluster } from '../../../src/kubernetes/cluster.ts';
import { failingRollOut, releaseOf, releasePhase, rollOut } from '../../run/contract-steps.ts';
import { web, webTool } from '../../run/tool-sources.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

const MIB = 1024 * 1024;
const signal = new AbortController().signal;

/** A tool that writes 200 MiB to disk. */
const writingTool = `
import time
print('writing', flush=True)
with open('/tmp/big', 'wb') as f:
    for _ in range(200): f.write(bytes(1024 * 1024)); f.flush()
time.sleep(600)
`;

// For other faults, see push-failures.test.ts and test/contracts/runtime.ts.
describe('each fault of a cluster has a message, and the old release still serves', {
  concurrency: 1,
}, () => {
  let bench: ClusterBench;
  before(async () => {
    bench = await clusterBench();
  });
  after(() => bench.close());

  const good = () => bench.artifact({ 'web.py': webTool('old') }, [web()]);
  const bad = async (source: string, change: Partial<Artifact> = {}) => ({
    ...(await bench.artifact({ 'web.py': source }, [web()])),
    ...change,
  });
  const namespace = (tool: string) => `${bench.prefix}${tool}`;

  /** Makes a rollout that must fail, and checks that the old release still serves. @returns the error. */
  async function failOver(name: string, artifact: Artifact, between: () => Promise<void> = async () => {}) {
    const tool = name as ToolName;
    await rollOut(bench.runtime, releaseOf(tool, 1, await good()));
    await between();
    const failure = await failingRollOut(bench.runtime, releaseOf(tool, 2, artifact));
    assert.deepEqual(await bench.request(tool, '/'), { status: 200, body: 'old' });
    assert.deepEqual(
      (await bench.runtime.status(tool)).map(({ version, state }) => [version, state]),
      [[1, 'up']],
    );
    const secrets = await bench.cluster.core.listNamespacedSecret({ namespace: namespace(name) });
    assert.equal(secrets.items.length, 1, 'Secrets other than the live release’s are left');
    return failure;
  }

  test('if the registry does not answer when a pod pulls its image, the push says so', async () => {
    const artifact = await bad(webTool('new'));
    const away = { ...artifact, reference: artifact.reference.replace(/^[^/]+/, '127.0.0.1:1') };
    const { error } = await failOver('unreached', away);
    assert.equal(error.code, 'ROLLOUT_IMAGE_PULL');
    assert.match(error.message, /\(the registry cannot be reached\)$/);
  });

  test('if a process exceeds a limit range of its namespace, the push fails and names the allowed and the requested memory', async () => {
    const { error } = await failOver('narrow', await bad(webTool('new')), async () => {
      await applyObject(
        bench.cluster,
        {
          apiVersion: 'v1',
          kind: 'LimitRange',
          metadata: { name: 'narrow', namespace: namespace('narrow') },
          spec: { limits: [{ type: 'Container', max: { memory: '128Mi' } }] },
        },
        { signal },
      );
    });
    assert.equal(error.code, 'LIMIT_RANGE');
    assert.match(error.message, /memory may be at most 128Mi, asked for: 256Mi/);
  });

  test('if a process writes too much to disk, the push says so', async () => {
    const { error } = await failOver(
      'writing',
      await bad(writingTool, { service: { healthCheckPath: null } }),
      async () => {
        Object.assign(bench.config, { health_time: 120_000 });
      },
    );
    Object.assign(bench.config, { health_time: 10_000 });
    assert.equal(error.code, 'ROLLOUT_EVICTED');
    assert.match(error.message, /^web\.1 was ended because it wrote more than 100Mi to disk$/);
  });

  test('if a web process listens only on 127.0.0.1, the push says so, with its output', async () => {
    const source = webTool('new').replaceAll('0.0.0.0', '127.0.0.1');
    const said = `import os\nprint('Running on http://127.0.0.1:' + os.environ['PORT'])\n${source}`;
    const { error } = await failOver('loopback', await bad(said));
    assert.equal(
      error.message,
      'web.1 never opened a port that others can reach; it printed 127.0.0.1:8000; waited 10 s',
    );
    assert.match(error.hint, /on 0\.0\.0\.0/);
  });

  test('if Pod Security of the namespace forbids an image because it runs as root, the push says so', async () => {
    const artifact = await bad(webTool('new'));
    const root = { ...artifact, reference: await rootImage() };
    const { error } = await failOver('root', root);
    assert.equal(error.code, 'ROLLOUT_BAD_CONTAINER');
    assert.match(error.message, /image will run as root/);
  });

  test('if service.template asks for more memory than the limit, the push names the memory asked for and the limit', async () => {
    const tool = 'greedy' as ToolName;
    const artifact = await bad(webTool('greedy'), {
      service: { healthCheckPath: null, memoryBytes: 900 * MIB },
    });
    const seen = await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
    assert.match(seen, /more memory than a process gets here, 256 MiB \(run_memory\): web 900 MiB/);
  });

  /** The reference of a plain Debian image, which runs as root. */
  async function rootImage(): Promise<string> {
    const registry = process.env['CLUSTER_REGISTRY'];
    const accept =
      'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json';
    const response = await fetch(`http://${registry}/v2/library/debian/manifests/bookworm-slim`, {
      method: 'HEAD',
      headers: { accept },
    });
    return `${registry}/library/debian@${response.headers.get('docker-content-digest')}`;
  }
});

/** The cluster for a user who may do all that the server needs, but may not read the logs of pods. */
async function withoutLogs(): Promise<Cluster> {
  const name = 'toolforge-push-test-no-logs';
  const cluster = connectCluster({ context: '' });
  const group = 'rbac.authorization.k8s.io';
  const core = [
    'namespaces',
    'pods',
    'secrets',
    'events',
    'services',
    'configmaps',
    'resourcequotas',
    'limitranges',
  ];
  const groups = ['apps', 'batch', 'networking.k8s.io', 'events.k8s.io', 'policy', 'discovery.k8s.io', group];
  await applyObject(
    cluster,
    {
      ...{ apiVersion: `${group}/v1`, kind: 'ClusterRole', metadata: { name } },
      rules: [
        { apiGroups: [''], resources: core, verbs: ['*'] },
        { apiGroups: groups, resources: ['*'], verbs: ['*'] },
      ],
    },
    { signal },
  );
  const binding = {
    ...{ apiVersion: `${group}/v1`, kind: 'ClusterRoleBinding', metadata: { name } },
    roleRef: { apiGroup: group, kind: 'ClusterRole', name },
    subjects: [{ kind: 'User', apiGroup: group, name }],
  };
  await applyObject(cluster, binding, { signal });
  const user = cluster.kubeConfig.getCurrentUser();
  if (user !== null) Object.assign(user, { impersonateUser: name });
  return cluster;
}

test('if the API refuses to read logs, a release command ends within 30 s, and its exit code is known', async () => {
  const bench = await clusterBench({ cluster: await withoutLogs() });
  try {
    const tool = 'silent' as ToolName;
    const release = { ...web(), type: 'release', command: ['sh', '-c', 'exit 7'], isDefault: false };
    const artifact = await bench.artifact({ 'web.py': webTool('silent') }, [web(), release]);
    const inTime = AbortSignal.timeout(30_000);
    const ends = releasePhase(bench.runtime, releaseOf(tool, 1, artifact), { signal: inTime });
    await assert.rejects(ends, { code: 'RELEASE_FAILED', message: /7/ });
    assert.ok(!inTime.aborted, 'it ended only with its signal');
  } finally {
    await bench.close();
  }
});
