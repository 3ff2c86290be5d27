import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { V1ClusterRole } from '@kubernetes/client-node';
import { parseAllDocuments } from 'yaml';
import type { ToolName } from '../../../src/core/names.ts';
import { applyObject } from '../../../src/kubernetes/apply.ts';
import { type Cluster, connectCluster } from '../../../src/kubernetes/cluster.ts';
import { ONE_OFF_LABEL } from '../../../src/run/kubernetes/one-off/one-off-pod.ts';
import { releaseOf, rollOut, until } from '../../run/contract-steps.ts';
import { Keyboard, oneOff, startOneOff } from '../../run/one-off-steps.ts';
import { web, webTool } from '../../run/tool-sources.ts';
import { AClusterBuilder } from '../builder/a-cluster-builder.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

const { signal } = new AbortController();
const rightsFile = resolve(import.meta.dirname, '../../../deploy/kubernetes/rights.yaml');

describe('one-offs as pods', { concurrency: 1 }, () => {
  let bench: ClusterBench;
  before(async () => {
    bench = await clusterBench();
  });
  after(() => bench.close());
  const namespaceOf = (tool: string) => `${bench.prefix}${tool}`;
  const goodRelease = async (tool: string) =>
    releaseOf(tool as ToolName, 3, await bench.artifact({ 'web.py': webTool('one') }, [web()]), { KEY: 'v' });

  /** Returns the pods and Secrets that the one-offs of a tool have left. */
  async function leftOf(tool: string): Promise<string[]> {
    const query = { namespace: namespaceOf(tool), labelSelector: ONE_OFF_LABEL };
    const [pods, secrets] = await Promise.all([
      bench.cluster.core.listNamespacedPod(query),
      bench.cluster.core.listNamespacedSecret(query),
    ]);
    return [...pods.items, ...secrets.items].map(({ metadata }) => metadata?.name ?? '');
  }

  test('a one-off command that has ended leaves no object in the cluster', async () => {
    const release = await goodRelease('tidy');
    assert.equal((await oneOff(bench.runtime, release, ['true'])).status, 0);
    await until(async () => (await leftOf('tidy')).length === 0, 'pod and Secret to go');
  });

  test('if the server was killed, its next start removes the pods of its one-off commands', async () => {
    const release = await goodRelease('orphan');
    const running = startOneOff(bench.runtime, release, ['sh', '-c', 'echo up; exec sleep 1000'], {
      input: new Keyboard().keys,
    });
    await running.shows(/up/);
    assert.equal((await leftOf('orphan')).length, 2);
    await bench.startAnother('main').cleanUp(release.tool);
    assert.equal((await running.end).status, 143);
    await until(async () => (await leftOf('orphan')).length === 0, 'pod and Secret to go');
  });

  test('if the image of a one-off command cannot be pulled, the client sees the reason', async () => {
    const release = await goodRelease('unpulled');
    const reference = release.artifact.reference.replace(/[0-9a-f]{60}$/, '0'.repeat(60));
    await assert.rejects(
      oneOff(bench.runtime, { ...release, artifact: { ...release.artifact, reference } }, ['true']),
      { code: 'ONE_OFF_FAILED', message: /^the command cannot start: the image \S+ cannot be pulled/ },
    );
    await until(async () => (await leftOf('unpulled')).length === 0, 'pod and Secret to go');
  });

  test('if the quota of the tool’s namespace has no room for one more pod, a one-off command is refused with QUOTA_EXCEEDED', async () => {
    const release = await goodRelease('quota');
    assert.equal((await oneOff(bench.runtime, release, ['true'])).status, 0);
    const quota = {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'tool-quota', namespace: namespaceOf('quota') },
      spec: { hard: { pods: '0' } },
    };
    await applyObject(bench.cluster, quota, { signal });
    await until(async () => {
      const { items } = await bench.cluster.core.listNamespacedResourceQuota({
        namespace: namespaceOf('quota'),
      });
      return items[0]?.status?.hard?.['pods'] === '0';
    }, 'the quota is counted');
    await assert.rejects(oneOff(bench.runtime, release, ['true']), { code: 'QUOTA_EXCEEDED' });
  });

  test('the rights in deploy/kubernetes suffice for one-off commands, and for commands beside a process', async () => {
    const limited = await clusterBench({
      config: { make_namespaces: false },
      cluster: await withRights(bench.cluster, bench.prefix),
    });
    try {
      const name = `${limited.prefix}narrow`;
      await bench.cluster.core.createNamespace({ body: { metadata: { name } } });
      const files = { note: 'x\n', 'web.py': webTool('one') };
      const release = releaseOf('narrow' as ToolName, 1, await limited.artifact(files, [web()]));
      const { status, out } = await oneOff(limited.runtime, release, ['cat', 'note', '-'], {
        input: 'typed\n',
      });
      assert.deepEqual([status, out], [0, 'x\ntyped\n']);
      await rollOut(limited.runtime, release);
      const beside = await oneOff(limited.runtime, release, ['cat', 'note', '-'], {
        ...{ beside: 'web.1', input: 'typed\n' },
      });
      assert.deepEqual([beside.status, beside.out], [0, 'x\ntyped\n']);
    } finally {
      await limited.runtime.close();
      const names = (await bench.cluster.core.listNamespace()).items.map(
        ({ metadata }) => metadata?.name ?? '',
      );
      for (const name of names.filter((each) => each.startsWith(limited.prefix)))
        await bench.cluster.core.deleteNamespace({ name });
    }
  });

  test('in an image that the builder has made, a one-off command and a command beside a process get the environment and folder of the tool’s processes', async () => {
    await using builder = await AClusterBuilder.open();
    const source = await mkdtemp(join(tmpdir(), 'one-off-'));
    await writeFile(
      join(source, 'Procfile'),
      'web: exec python3 -m http.server $PORT\ntask: echo "task: $*"\n',
    );
    await writeFile(join(source, 'index.html'), 'hello\n');
    const artifact = await builder.build(source);
    await rm(source, { recursive: true });
    const release = releaseOf('built' as ToolName, 1, artifact, { KEY: 'a b' });
    const { out, status } = await oneOff(bench.runtime, release, [
      'sh',
      '-c',
      'pwd; cat index.html; echo "$KEY"; exit 6',
    ]);
    assert.deepEqual([status, out], [6, '/workspace\nhello\na b\n']);
    assert.match((await oneOff(bench.runtime, release, ['task', '$KEY'])).out, /^task: /);
    await rollOut(bench.runtime, release);
    const own = ['_', 'SHLVL', 'PWD', 'OLDPWD', 'TOOLFORGE_PUSH_EXEC'].join('|');
    const sorted = `grep -vE '^(${own})=' | sort`;
    const script = [
      `pwd; cat index.html; tr '\\0' '\\n' </proc/1/environ | ${sorted} >/tmp/web; env | ${sorted} >/tmp/own`,
      'diff /tmp/web /tmp/own && wc -l </tmp/own',
    ];
    const beside = await oneOff(bench.runtime, release, ['sh', '-c', script.join('\n')], { beside: 'web.1' });
    assert.match(beside.out, /^\/workspace\nhello\n\d+\n$/, beside.err);
  });
});

/** A connection to the cluster with only the rights of deploy/kubernetes. `prefix` begins the names of its objects. */
async function withRights(cluster: Cluster, prefix: string): Promise<Cluster> {
  const namespace = `${prefix}server`;
  const name = `${prefix}rights`;
  await cluster.core.createNamespace({ body: { metadata: { name: namespace } } });
  await cluster.core.createNamespacedServiceAccount({ namespace, body: { metadata: { name } } });
  const roles = parseAllDocuments(await readFile(rightsFile, 'utf8'))
    .map((document) => document.toJS() as V1ClusterRole)
    .filter(({ kind }) => kind === 'ClusterRole');
  for (const { metadata, rules } of roles) {
    const role = `${prefix}${metadata?.name}`;
    const api = 'rbac.authorization.k8s.io';
    const ofRole = { apiVersion: `${api}/v1`, metadata: { name: role } };
    // The namespace of the account owns the role, so the garbage collector deletes the role with the namespace.
    const { metadata: own } = await cluster.core.readNamespace({ name: namespace });
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Namespace', name: namespace, uid: own?.uid ?? '' }];
    const described = { ...ofRole, metadata: { name: role, ownerReferences } };
    await applyObject(cluster, { ...described, kind: 'ClusterRole', rules }, { signal });
    await applyObject(
      cluster,
      {
        ...described,
        kind: 'ClusterRoleBinding',
        roleRef: { apiGroup: api, kind: 'ClusterRole', name: role },
        subjects: [{ kind: 'ServiceAccount', name, namespace }],
      },
      { signal },
    );
  }
  const { status } = await cluster.core.createNamespacedServiceAccountToken({
    name,
    namespace,
    body: { spec: { audiences: [], expirationSeconds: 3600 } },
  });
  const current = cluster.kubeConfig.getCurrentCluster();
  const folder = await mkdtemp(join(tmpdir(), 'rights-'));
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'limited',
      contexts: [{ name: 'limited', context: { cluster: 'c', user: 'u' } }],
      clusters: [
        {
          name: 'c',
          cluster: {
            server: current?.server,
            ...(current?.caData === undefined ? {} : { 'certificate-authority-data': current.caData }),
            ...(current?.caFile === undefined ? {} : { 'certificate-authority': current.caFile }),
            'insecure-skip-tls-verify': current?.skipTLSVerify ?? false,
          },
        },
      ],
      users: [{ name: 'u', user: { token: status?.token } }],
    }),
  );
  const limited = connectCluster({ context: '', kubeconfig });
  await rm(folder, { recursive: true });
  return limited;
}
