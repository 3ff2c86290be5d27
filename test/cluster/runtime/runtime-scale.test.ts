import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PatchStrategy } from '@kubernetes/client-node';
import type { ToolName } from '../../../src/core/names.ts';
import { applyObject, FIELD_MANAGER } from '../../../src/kubernetes/apply.ts';
import { LABELS, LIVE } from '../../../src/run/kubernetes/manifests/object-names.ts';
import { failing, releaseOf, rollOut, scale, until } from '../../run/contract-steps.ts';
import { namedCommand, politeWorker, web, webTool } from '../../run/tool-sources.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

describe('numbers of pods', { concurrency: 1 }, () => {
  let bench: ClusterBench;
  before(async () => {
    bench = await clusterBench();
  });
  after(() => bench.close());

  const webArtifact = (word: string) => bench.artifact({ 'web.py': webTool(word) }, [web()]);
  const namespaceOf = (tool: string) => `${bench.prefix}${tool}`;
  const deploymentOf = async (tool: string) => {
    const { items } = await bench.cluster.apps.listNamespacedDeployment({ namespace: namespaceOf(tool) });
    assert.equal(items.length, 1);
    return items[0];
  };
  const running = (tool: string, count: number) =>
    until(async () => {
      const { items } = await bench.cluster.core.listNamespacedPod({ namespace: namespaceOf(tool) });
      return items.length === count;
    }, `${count} pods`);
  const setByHand = async (tool: string, replicas: number, manager: string) => {
    const name = (await deploymentOf(tool))?.metadata?.name ?? '';
    const metadata = { name, namespace: namespaceOf(tool) };
    await bench.cluster.objects.patch(
      { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { replicas } },
      undefined,
      undefined,
      manager,
      undefined,
      PatchStrategy.MergePatch,
    );
  };

  test('a named command gets a Deployment only by `scale`; a restarted server finds this Deployment, and a failed `scale` leaves none', async () => {
    const tool = 'commands' as ToolName;
    const built = await bench.artifact({ 'worker.py': politeWorker }, [namedCommand('worker', 'worker.py')]);
    const fail = { ...namedCommand('fail', ''), command: ['sh', '-c', 'exit 7'] };
    const release = releaseOf(tool, 1, { ...built, processes: [...built.processes, fail] });
    const types = async () => {
      const { items } = await bench.cluster.apps.listNamespacedDeployment({ namespace: namespaceOf(tool) });
      return items.map(({ metadata }) => metadata?.labels?.[LABELS.process]);
    };
    const secrets = async () => {
      const { items } = await bench.cluster.core.listNamespacedSecret({ namespace: namespaceOf(tool) });
      return items.length;
    };
    await rollOut(bench.runtime, release);
    assert.deepEqual([await types(), await secrets()], [[], 0]);
    const { error } = await failing(scale(bench.runtime, release, { fail: 1 }));
    assert.equal(error.code, 'ROLLOUT_CRASHED');
    assert.deepEqual(await types(), []);
    await scale(bench.runtime, release, { worker: 1 });
    assert.deepEqual([await types(), await secrets()], [['worker'], 1]);
    const [before] = (await bench.cluster.apps.listNamespacedDeployment({ namespace: namespaceOf(tool) }))
      .items;
    assert.equal(before?.metadata?.annotations?.[LIVE], 'true');
    const next = bench.startAnother(tool);
    await next.resume(release, 1, { worker: 1 });
    await next.cleanUp(tool);
    assert.equal((await deploymentOf(tool))?.metadata?.uid, before?.metadata?.uid);
    assert.deepEqual(
      (await next.status(tool)).map(({ name, state }) => [name, state]),
      [['worker.1', 'up']],
    );
    await rollOut(next, { ...release, version: 2 });
    await until(
      async () => (await types()).length === 0 && (await secrets()) === 0,
      'the old release to go',
      60,
    );
    await next.close();
  });

  test('`scale` beyond the quota of the tool’s namespace fails, names the quota and changes nothing; `scale` within the quota works', async () => {
    const tool = 'narrow' as ToolName;
    const release = releaseOf(tool, 1, await webArtifact('narrow'));
    await rollOut(bench.runtime, release);
    const namespace = namespaceOf(tool);
    await applyObject(
      bench.cluster,
      {
        apiVersion: 'v1',
        kind: 'ResourceQuota',
        metadata: { name: 'tool-quota', namespace },
        spec: { hard: { pods: '2' } },
      },
      { signal: new AbortController().signal },
    );
    await until(async () => {
      const { items } = await bench.cluster.core.listNamespacedResourceQuota({ namespace });
      return items[0]?.status?.used?.['pods'] === '1';
    }, 'the quota is counted');
    const { error } = await failing(scale(bench.runtime, release, { web: 3 }));
    assert.equal(error.code, 'QUOTA_EXCEEDED');
    assert.match(
      error.message,
      /^web\.[23] cannot be started: the tool's quota tool-quota is used up \(pods: /,
    );
    await running(tool, 1);
    assert.equal((await bench.request(tool, '/')).body, 'narrow');
    await scale(bench.runtime, release, { web: 2 });
    await running(tool, 2);
  });

  test('if the server is killed during `scale`, the next server runs the recorded number of processes', async () => {
    const tool = 'killed' as ToolName;
    const release = releaseOf(tool, 1, await webArtifact('killed'));
    const first = bench.startAnother(tool);
    await rollOut(first, release);
    await first.close();
    for (const { left, recorded } of [
      { left: 3, recorded: 1 },
      { left: 1, recorded: 2 },
      { left: 2, recorded: 0 },
      { left: 0, recorded: 1 },
    ]) {
      await setByHand(tool, left, FIELD_MANAGER);
      const next = bench.startAnother(`${tool}-${left}`);
      await next.resume(release, 1, { web: recorded });
      assert.equal((await deploymentOf(tool))?.spec?.replicas, recorded);
      await running(tool, recorded);
      await until(async () => (await next.status(tool)).length === recorded, 'its status');
      await next.close();
    }
  });

  test('a start of the server keeps a number of pods that an operator has set by kubectl; the status says so, and `scale` overrides the number', async () => {
    const tool = 'handled' as ToolName;
    const release = releaseOf(tool, 1, await webArtifact('handled'));
    const first = bench.startAnother(tool);
    await rollOut(first, release);
    await first.close();
    await setByHand(tool, 0, 'kubectl-scale');
    const second = bench.startAnother(tool);
    await second.resume(release, 1, {});
    const [status] = await until(async () => {
      const all = await second.status(tool);
      return all[0]?.state === 'off' && all;
    }, 'its status');
    assert.equal(status?.detail, 'set to run 0 times; changed outside of this server by kubectl-scale');
    await scale(second, release, { web: 2 });
    assert.deepEqual(
      (await second.status(tool)).map(({ name, state, detail }) => [name, state, detail]).sort(),
      [
        ['web.1', 'up', null],
        ['web.2', 'up', null],
      ],
    );
    await second.close();
  });
});
