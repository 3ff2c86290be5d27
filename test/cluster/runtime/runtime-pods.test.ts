import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { withOutside } from '../../../src/core/variables/outside-vars.ts';
import { applyObject } from '../../../src/kubernetes/apply.ts';
import { toolNamespace } from '../../../src/run/kubernetes/manifests/namespace-manifests.ts';
import { releaseOf, rollOut, textOf, until } from '../../run/contract-steps.ts';
import { web, webTool, worker } from '../../run/tool-sources.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

const UID = 60_000;

/** A worker that prints its user, its token, its data folder and the Services that it sees. */
const lookingWorker = `
import os, time
home = os.environ['TOOL_DATA_DIR']
print('uid', os.getuid(), os.getgid(), flush=True)
print('token', os.path.exists('/var/run/secrets/kubernetes.io/serviceaccount'), flush=True)
print('replica', open(home + '/replica.my.cnf').read().strip(), flush=True)
open(home + '/note', 'w').write('x'); print('data', os.listdir(home), flush=True)
print('services', [name for name in os.environ if name.endswith('_SERVICE_HOST') and not name.startswith('KUBERNETES')], flush=True)
time.sleep(600)
`;

describe('pods of tools', { concurrency: 1 }, () => {
  let bench: ClusterBench;
  before(async () => {
    bench = await clusterBench({
      config: { pod_uid: UID, replica_secret: 'replica', config_vars_secret: 'outside' },
    });
  });
  after(() => bench.close());

  test('a tool’s pod has the tool’s uid, data folder and replica.my.cnf, but no token and no variables of Services', async () => {
    const tool = 'looking' as ToolName;
    const namespace = `${bench.prefix}${tool}`;
    const { signal } = new AbortController();
    await applyObject(bench.cluster, toolNamespace(tool, namespace), { signal });
    await applyObject(
      bench.cluster,
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'replica', namespace },
        stringData: { 'replica.my.cnf': '[client]' },
      },
      { signal },
    );
    const artifact = await bench.artifact({ 'worker.py': lookingWorker }, [worker()]);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
    const text = await until(async () => {
      const said = await textOf(bench.runtime, tool, 'worker');
      return said.includes('services') && said;
    }, 'the answer of the tool');
    // Tools of the bench have the number 1.
    assert.match(text, new RegExp(`^uid ${UID + 1} ${UID + 1}$`, 'm'));
    assert.match(text, /^token False$/m);
    assert.match(text, /^replica \[client\]$/m);
    assert.match(text, /^data \[.*'note'.*\]$/m);
    assert.match(text, /^services \[\]$/m);
  });

  test('config vars from a Secret in the tool’s namespace reach the processes and win over stored config vars; a Secret with an invalid name of a config var is refused', async () => {
    const other = await clusterBench({ config: { config_vars_secret: 'outside' } });
    try {
      const tool = 'from-outside' as ToolName;
      const namespace = `${other.prefix}${tool}`;
      const { signal } = new AbortController();
      assert.deepEqual((await other.runtime.outsideVars(tool)).vars, {});
      await applyObject(other.cluster, toolNamespace(tool, namespace), { signal });
      assert.deepEqual((await other.runtime.outsideVars(tool)).vars, {});
      const write = (data: Readonly<Record<string, string>>) =>
        applyObject(
          other.cluster,
          { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'outside', namespace }, stringData: data },
          { signal },
        );
      await write({ API_KEY: 's3cret $(HOME)', GREETING: 'outside' });
      const outside = await other.runtime.outsideVars(tool);
      assert.equal(outside.source, `the Secret outside in the namespace ${namespace}`);
      const source = `import os, time\nprint(os.environ['API_KEY'], os.environ['GREETING'], 'end', flush=True)\ntime.sleep(600)\n`;
      const artifact = await other.artifact({ 'worker.py': source }, [worker()]);
      await rollOut(
        other.runtime,
        withOutside(releaseOf(tool, 1, artifact, { GREETING: 'stored' }), outside),
      );
      await until(
        async () => (await textOf(other.runtime, tool, 'worker')).includes('s3cret $(HOME) outside end'),
        'the config vars in the output',
      );
      await write({ 'replica.my.cnf': 's3cret' });
      await assert.rejects(other.runtime.outsideVars(tool), (error) => {
        assert.match(
          String(error),
          /the Secret outside in the namespace .* "replica\.my\.cnf" is not a valid name/,
        );
        assert.doesNotMatch(String(error), /s3cret/);
        return true;
      });
    } finally {
      await other.close();
    }
  });

  test('service.template sets the number of web processes, and their NetworkPolicy lets the API servers probe them', async () => {
    const plain = await clusterBench();
    try {
      const tool = 'twice' as ToolName;
      const artifact = await plain.artifact({ 'web.py': webTool('twice') }, [web()]);
      const service = { healthCheckPath: null, replicas: 2 };
      const seen = await rollOut(plain.runtime, releaseOf(tool, 1, { ...artifact, service }));
      assert.match(seen, /web\.1 started · healthy/);
      assert.match(seen, /web\.2 started · healthy/);
      const namespace = `${plain.prefix}${tool}`;
      const { items } = await plain.cluster.networking.listNamespacedNetworkPolicy({ namespace });
      assert.deepEqual(
        items.map(({ metadata }) => metadata?.name),
        ['toolforge-push'],
      );
      const apiServer = `${process.env['CLUSTER_NODE_IP']}/32`;
      const from = items[0]?.spec?.ingress?.flatMap(({ _from = [] }) => _from) ?? [];
      assert.ok(
        from.some(({ ipBlock }) => ipBlock?.cidr === apiServer),
        'the NetworkPolicy blocks the API servers, which probe the pod',
      );
      assert.deepEqual((await plain.runtime.status(tool)).map(({ name, state }) => [name, state]).sort(), [
        ['web.1', 'up'],
        ['web.2', 'up'],
      ]);
    } finally {
      await plain.close();
    }
  });
});
