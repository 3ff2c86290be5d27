import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { PatchStrategy } from '@kubernetes/client-node';
import { pino } from 'pino';
import type { ToolName } from '../../../src/core/names.ts';
import { applyObject } from '../../../src/kubernetes/apply.ts';
import type { KubernetesRuntime } from '../../../src/run/kubernetes/kubernetes-runtime.ts';
import { toolNamespace } from '../../../src/run/kubernetes/manifests/namespace-manifests.ts';
import { configSecret, releaseJob } from '../../../src/run/kubernetes/manifests/rollout-manifests.ts';
import { ToolPods } from '../../../src/run/kubernetes/pods/tool-pods.ts';
import { makeRollout } from '../../../src/run/kubernetes/rollout-objects.ts';
import { logOf, releaseOf, rollOut, textOf, until } from '../../run/contract-steps.ts';
import { silentTool, web, webTool, worker } from '../../run/tool-sources.ts';
import { type ApiProxy, apiProxy } from '../api-proxy.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

/** Prints an increasing number for ever. */
const countingWorker = `
import time
for i in range(1000000): print('count', i, flush=True); time.sleep(0.01)
`;

const { signal } = new AbortController();

describe('a server that restarts', { concurrency: 1 }, () => {
  let bench: ClusterBench;
  let api: ApiProxy;
  before(async () => {
    api = await apiProxy();
    bench = await clusterBench({ cluster: api.cluster });
  });
  after(async () => {
    await bench.close();
    await api.close();
  });

  const webArtifact = (word: string) => bench.artifact({ 'web.py': webTool(word) }, [web()]);
  const ask = async (tool: string) => (await bench.request(tool as ToolName, '/')).body;
  const podsOf = async (tool: string) =>
    (await bench.cluster.core.listNamespacedPod({ namespace: `${bench.prefix}${tool}` })).items;
  const uids = async (tool: string) => (await podsOf(tool)).map(({ metadata }) => metadata?.uid).sort();

  test('a rollout right at the server’s start waits until the live release is resumed, and then replaces it', async () => {
    const tool = 'at-once' as ToolName;
    const one = releaseOf(tool, 1, await webArtifact('one'));
    const first = bench.startAnother(tool);
    await rollOut(first, one);
    await first.close();
    const second = bench.startAnother(tool);
    const two = releaseOf(tool, 2, await webArtifact('two'));
    // A slow API: the server sees existing objects long after the new rollout has begun.
    const { apps } = bench.cluster;
    const list = apps.listNamespacedDeployment.bind(apps);
    apps.listNamespacedDeployment = async (query) => {
      await wait(2000);
      return await list(query);
    };
    const resuming = second.resume(one, 1, {});
    const rollingOut = rollOut(second, two);
    await wait(2000);
    apps.listNamespacedDeployment = list;
    await Promise.all([resuming, rollingOut]);
    assert.equal(await ask(tool), 'two');
    await until(async () => (await podsOf(tool)).length === 1, 'only the new pod is left');
    assert.equal(await ask(tool), 'two');
  });

  test('a tool stays in maintenance while the server is away; after a restart, the tool is in maintenance if and only if the store says so', async () => {
    const tool = 'mended' as ToolName;
    const one = releaseOf(
      tool,
      1,
      await bench.artifact({ 'web.py': webTool('one'), 'maintenance.html': 'away' }, [web()]),
    );
    const first = bench.startAnother(tool);
    await rollOut(first, one);
    await first.beginMaintenance(one, 1);
    const before = await uids(tool);
    await first.close();
    assert.equal(await ask(tool), 'away');
    const second = bench.startAnother(tool);
    second.keepMaintenance(tool);
    await second.resume(one, 1, {});
    await second.cleanUp(tool);
    assert.equal(await ask(tool), 'away');
    assert.deepEqual(await uids(tool), before);
    await second.close();
    // The store of the third server has no maintenance.
    const third = bench.startAnother(tool);
    await third.resume(one, 1, {});
    await third.cleanUp(tool);
    assert.equal(await ask(tool), 'one');
    await until(async () => (await podsOf(tool)).length === 1, 'the page is gone');
    await third.close();
    // The store of the fourth server comes from a backup, from the time of the maintenance.
    const fourth = bench.startAnother(tool);
    fourth.keepMaintenance(tool);
    await fourth.resume(one, 1, {});
    await until(async () => (await ask(tool)) === 'away', 'the page');
    await fourth.endMaintenance(tool);
    assert.equal(await ask(tool), 'one');
    await fourth.close();
  });

  test('running pods are resumed without a restart, and the log continues without a gap or a repetition', async () => {
    const tool = 'adopted' as ToolName;
    const files = { 'web.py': webTool('here'), 'worker.py': countingWorker };
    const release = releaseOf(tool, 3, await bench.artifact(files, [web(), worker()]));
    const first = bench.startAnother(tool);
    await rollOut(first, release);
    const before = await uids(tool);
    await until(async () => (await logOf(first, tool, 'worker')).length > 100, 'some lines');
    await first.close();
    await wait(1000);
    assert.equal(await ask(tool), 'here');
    const second = bench.startAnother(tool);
    await second.resume(release, 1, {});
    assert.deepEqual(await uids(tool), before);
    const status = await second.status(tool);
    assert.deepEqual(status.map(({ name, state, restarts }) => [name, state, restarts]).sort(), [
      ['web.1', 'up', 0],
      ['worker.1', 'up', 0],
    ]);
    const seen = (await logOf(second, tool, 'worker', 10_000)).length;
    await until(async () => (await logOf(second, tool, 'worker', 10_000)).length > seen + 200, 'more lines');
    const numbers = (await logOf(second, tool, 'worker', 10_000)).map(({ text }) => Number(text.slice(6)));
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index),
    );
    await second.close();
  });

  test('if the server is killed during a rollout, the next server resumes the old release and removes the new release', async () => {
    const tool = 'midway' as ToolName;
    const old = releaseOf(tool, 1, await webArtifact('old'));
    const first = bench.startAnother(tool);
    await rollOut(first, old);
    const before = await uids(tool);
    const stuck = releaseOf(tool, 2, await bench.artifact({ 'web.py': silentTool }, [web()]));
    await abandon(first, rollOut(first, stuck), async () => (await uids(tool)).length === 2);
    const second = bench.startAnother(tool);
    await second.resume(old, 1, {});
    assert.equal(await ask(tool), 'old');
    await until(async () => (await uids(tool)).length === 1, 'the new pod is gone');
    assert.deepEqual(await uids(tool), before);
    await second.close();
  });

  test('if the server is killed after it recorded a release as live, its next start gives the requests to that release', async () => {
    const tool = 'between' as ToolName;
    const first = bench.startAnother(tool);
    await rollOut(first, releaseOf(tool, 1, await webArtifact('old')));
    const next = releaseOf(tool, 2, await webArtifact('new'));
    let closed = Promise.resolve();
    const beforeSwitch = async () => {
      // `close` waits for the rollout, so it cannot be awaited here.
      closed = first.close();
    };
    await rollOut(first, next, { beforeSwitch });
    await closed;
    assert.equal(await ask(tool), 'old');
    const made = (await podsOf(tool))
      .map(({ metadata }) => metadata?.name)
      .filter((name) => name?.includes('-v2-'));
    const second = bench.startAnother(tool);
    await second.resume(next, 1, {});
    assert.equal(await ask(tool), 'new');
    await until(async () => (await uids(tool)).length === 1, 'the old pod is gone');
    assert.deepEqual(
      (await podsOf(tool)).map(({ metadata }) => metadata?.name),
      made,
    );
    await second.close();
  });

  test('if the cluster’s API is away for five seconds during a rollout, the rollout continues, and meanwhile the old release answers', async () => {
    const tool = 'away' as ToolName;
    await rollOut(bench.runtime, releaseOf(tool, 1, await webArtifact('old')));
    const slow = `import time\ntime.sleep(2)\n${webTool('new')}`;
    const artifact = await bench.artifact({ 'web.py': slow }, [web()]);
    const rolling = rollOut(bench.runtime, releaseOf(tool, 2, artifact));
    rolling.catch(() => {});
    await until(async () => (await uids(tool)).length === 2, 'the new pod');
    api.goAway(5000);
    assert.equal(await ask(tool), 'old');
    await rolling;
    assert.equal(await ask(tool), 'new');
  });

  test('a server that starts while the cluster’s API is away resumes running releases when the API is back', async () => {
    const tool = 'early' as ToolName;
    const release = releaseOf(tool, 1, await webArtifact('early'));
    const first = bench.startAnother(tool);
    await rollOut(first, release);
    await first.close();
    const before = await uids(tool);
    api.goAway(4000);
    const second = bench.startAnother(tool);
    await second.resume(release, 1, {});
    assert.deepEqual(
      (await second.status(tool)).map(({ name, state }) => [name, state]),
      [['web.1', 'up']],
    );
    assert.deepEqual(await uids(tool), before);
    await second.close();
  });

  test('if somebody changes the number of pods in a Deployment, the server keeps this number, and the status names the program that changed it', async () => {
    const tool = 'edited' as ToolName;
    await rollOut(bench.runtime, releaseOf(tool, 1, await webArtifact('mine')));
    const namespace = `${bench.prefix}${tool}`;
    const { items } = await bench.cluster.apps.listNamespacedDeployment({ namespace });
    const name = items[0]?.metadata?.name ?? '';
    await bench.cluster.objects.patch(
      { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace }, spec: { replicas: 2 } },
      undefined,
      undefined,
      'kubectl-edit',
      undefined,
      PatchStrategy.MergePatch,
    );
    const status = await until(async () => {
      const now = await bench.runtime.status(tool);
      return now.length === 2 && now.every(({ state }) => state === 'up') && now;
    }, 'there is a second pod');
    assert.deepEqual(status.map((one) => [one.name, one.detail]).sort(), [
      ['web.1', 'changed outside of this server by kubectl-edit'],
      ['web.2', 'changed outside of this server by kubectl-edit'],
    ]);
  });

  test('a pod that somebody deletes is replaced, and the tool’s log continues', async () => {
    const tool = 'drained' as ToolName;
    await rollOut(bench.runtime, releaseOf(tool, 1, await webArtifact('drained')));
    const [pod] = await podsOf(tool);
    const namespace = `${bench.prefix}${tool}`;
    await bench.cluster.core.deleteNamespacedPod({ name: pod?.metadata?.name ?? '', namespace });
    await until(async () => {
      const lines = await textOf(bench.runtime, tool, 'web.1');
      return lines.split('drained starts').length === 3;
    }, 'the lines of the second pod');
    await until(async () => (await bench.request(tool, '/')).status === 200, 'an answer');
  });

  test('objects that a killed server left of a first rollout and of a release phase are removed, with their Secrets', async () => {
    const tool = 'never' as ToolName;
    const namespace = `${bench.prefix}${tool}`;
    const releasing = {
      type: 'release',
      command: ['python3', '-c', 'import time; time.sleep(600)'],
      isDefault: false,
    };
    const artifact = await bench.artifact({ 'web.py': webTool('never') }, [web(), releasing]);
    const release = releaseOf(tool, 1, artifact, { API_KEY: 'secret' });
    const parts = { cluster: bench.cluster, config: bench.config, pods: new ToolPods(''), closing: signal };
    const leave = async (ofRollout: string, ofPhase: string) => {
      const options = (id: string) => ({
        rollout: { release, id, namespace, replicas: {} },
        toolNumber: 1,
        config: bench.config,
      });
      await makeRollout(parts, options(ofRollout), signal);
      const phase = options(ofPhase);
      await applyObject(bench.cluster, configSecret(phase.rollout), { signal });
      await applyObject(bench.cluster, releaseJob(phase, releasing, 600), { signal });
    };
    await applyObject(bench.cluster, toolNamespace(tool, namespace), { signal });
    await leave('aaaaa', 'aaaab');
    await until(async () => (await podsOf(tool)).length === 2, 'both pods');
    const second = bench.startAnother(tool);
    await second.cleanUp(tool);
    await until(async () => (await left(namespace)).length === 0, 'nothing is left');

    const live = rollOut(second, releaseOf(tool, 2, await webArtifact('second'), { API_KEY: 'secret' }));
    await leave('bbbbb', 'bbbba');
    await second.cleanUp(tool);
    await live;
    assert.equal(await ask(tool), 'second');
    assert.deepEqual(
      (await second.status(tool)).map(({ version, state }) => [version, state]),
      [[2, 'up']],
    );
    const kinds = await until(async () => {
      const now = await left(namespace);
      return now.length === 3 && now;
    }, 'only the live release is left');
    assert.deepEqual(kinds.map((name) => name.replace(/-v2-.*/, '')).sort(), ['config', 'web', 'web']);
    await second.close();
  });

  test('threat 87: if the store has lost a tool’s releases, the release in the cluster still runs after a start of the server, until the next rollout', async () => {
    const tool = 'forgotten' as ToolName;
    const first = bench.startAnother(tool);
    await rollOut(first, releaseOf(tool, 7, await webArtifact('seven')));
    const stuck = releaseOf(tool, 8, await bench.artifact({ 'web.py': silentTool }, [web()]));
    const before = await uids(tool);
    await abandon(first, rollOut(first, stuck), async () => (await uids(tool)).length === 2);
    const second = bench.startAnother(tool);
    await second.cleanUp(tool);
    await until(async () => (await uids(tool)).length < 2, 'the pod of v8 is gone');
    assert.deepEqual(await uids(tool), before);
    assert.equal(await ask(tool), 'seven');
    const secrets = await bench.cluster.core.listNamespacedSecret({ namespace: `${bench.prefix}${tool}` });
    assert.equal(secrets.items.length, 1);
    await rollOut(second, releaseOf(tool, 1, await webArtifact('one')));
    await until(async () => (await uids(tool)).length === 1, 'the pod of v7 is gone');
    assert.equal(await ask(tool), 'one');
    await second.close();
  });

  test('if a tool’s first rollout failed, the next start of the server raises no alarm', async () => {
    const tool = 'unlucky' as ToolName;
    const logged: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line) => void logged.push(line) });
    const other = await clusterBench({ log });
    try {
      const source = { 'web.py': 'raise SystemExit(3)' };
      const release = releaseOf(tool, 1, await other.artifact(source, [web()]));
      await assert.rejects(rollOut(other.runtime, release));
      logged.length = 0;
      await other.startAnother(tool).cleanUp(tool);
      assert.deepEqual(logged, []);
    } finally {
      await other.close();
    }
  });

  test('the clean-up at a start of the server does not fail for a tool without a namespace', async () => {
    await bench.runtime.cleanUp('nowhere' as ToolName);
  });

  /** The names of Jobs, Deployments, pods and Secrets. */
  async function left(namespace: string): Promise<string[]> {
    const { core, apps, batch } = bench.cluster;
    const lists = await Promise.all([
      batch.listNamespacedJob({ namespace }),
      apps.listNamespacedDeployment({ namespace }),
      core.listNamespacedPod({ namespace }),
      core.listNamespacedSecret({ namespace }),
    ]);
    return lists.flatMap(({ items }) => items.map(({ metadata }) => metadata?.name ?? ''));
  }

  async function abandon(runtime: KubernetesRuntime, work: Promise<unknown>, when: () => Promise<boolean>) {
    work.catch(() => {});
    await until(when, 'the moment to kill the server');
    await runtime.close();
  }
});
