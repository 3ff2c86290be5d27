import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { KubernetesListObject, KubernetesObject } from '@kubernetes/client-node';
import { pino } from 'pino';
import type { ToolName } from '../../../src/core/names.ts';
import { releaseOf, rollOut, scale, until } from '../../run/contract-steps.ts';
import { web, webTool, worker } from '../../run/tool-sources.ts';
import { kubectl } from '../installation/kubectl.ts';
import { type ClusterBench, clusterBench } from './runtime-bench.ts';

const BACK_SECONDS = 30;
const schedule = { text: '@yearly', cron: '0 0 1 1 *', retry: 0, timeoutSeconds: null };

interface LogLine {
  readonly msg: string;
  readonly tool?: string;
  readonly restored?: readonly string[];
}

describe('drift', { concurrency: 1 }, () => {
  const lines: LogLine[] = [];
  let bench: ClusterBench;
  before(async () => {
    const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    bench = await clusterBench({ log });
  });
  after(() => bench.close());

  const namespaceOf = (tool: string) => `${bench.prefix}${tool}`;
  const linesOf = (tool: string) => lines.filter((line) => line.tool === tool);
  const named = async (tool: string, kinds: string) =>
    (await kubectl('-n', namespaceOf(tool), 'get', kinds, '-o', 'name'))
      .split('\n')
      .filter((one) => one !== '');
  const details = async (tool: ToolName) =>
    (await bench.runtime.status(tool)).map(({ name, detail }) => `${name}: ${detail ?? ''}`).join('\n');
  const isUp = async (tool: ToolName) =>
    (await bench.runtime.status(tool)).every(({ state }) => state === 'up' || state === 'scheduled');

  test('threat 80: deleted objects of a live release are back within 30 s, and `ps` and the server’s log say so', async (t) => {
    const tool = 'deleted' as ToolName;
    const yearly = { type: 'yearly', command: ['true'], isDefault: false, schedule };
    const files = { 'web.py': webTool('here'), 'worker.py': 'import time\ntime.sleep(1000)' };
    const artifact = await bench.artifact(files, [web(), worker(), yearly]);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact, { API_KEY: 'secret' }));
    const kinds = 'deployment,service,ingress,secret,cronjob,poddisruptionbudget,networkpolicy';
    const whole = (await named(tool, kinds)).sort();
    assert.ok(whole.includes('cronjob.batch/push-yearly'), whole.join());
    for (const [kind, process] of [
      ['deployment', 'web.1'],
      ['service', 'web.1'],
      ['ingress', 'web.1'],
      ['secret', 'worker.1'],
      ['cronjob', 'yearly.1'],
      ['networkpolicy', 'web.1'],
      ['deployment,service,ingress,secret,cronjob', 'web.1'],
    ] as const) {
      const startedAt = performance.now();
      await kubectl('-n', namespaceOf(tool), 'delete', kind, '--all', '--wait=false');
      await until(
        async () => {
          const now = (await named(tool, kinds)).sort();
          if (now.join() !== whole.join()) return false;
          const { status } = await bench.request(tool, '/').catch(() => ({ status: 0 }));
          return status === 200 && (await isUp(tool));
        },
        `${kind} to be back, of ${whole}`,
        BACK_SECONDS,
      );
      t.diagnostic(`${kind}: back after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
      const told = await details(tool);
      const word = kind.split(',')[0] ?? '';
      assert.match(told, new RegExp(`${process}: .*its ${word} was deleted outside of this server`, 'i'));
      await until(
        async () =>
          linesOf(tool).some(({ restored = [] }) => {
            return restored.some((one) => one.toLowerCase().startsWith(word));
          }),
        'a line of the log',
      );
    }
    for (const { msg } of linesOf(tool)) assert.equal(msg, 'deleted objects of a live release made again');
  });

  test('threat 80: deleted objects of a tool in maintenance are back within 30 s, and visitors get the page again', async () => {
    const tool = 'mended' as ToolName;
    const artifact = await bench.artifact({ 'web.py': webTool('x'), 'maintenance.html': 'away' }, [web()]);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
    await bench.runtime.beginMaintenance(releaseOf(tool, 1, artifact), 1);
    const kinds = 'deployment,service,ingress';
    const whole = (await named(tool, kinds)).sort().join();
    assert.match(whole, /deployment\.apps\/push-maintenance/);
    for (const object of ['deployment/push-maintenance', `service/${tool}`, `ingress/${tool}-subdomain`]) {
      await kubectl('-n', namespaceOf(tool), 'delete', object, '--wait=false');
      const isBack = async () => {
        if ((await named(tool, kinds)).sort().join() !== whole) return false;
        const { body } = await bench.request(tool, '/').catch(() => ({ body: '' }));
        assert.notEqual(body, 'x');
        return body === 'away';
      };
      await until(isBack, `${object} to be back`, BACK_SECONDS);
    }
    await bench.runtime.endMaintenance(tool);
    assert.equal((await bench.request(tool, '/')).body, 'x');
    await wait(3000);
    assert.doesNotMatch((await named(tool, kinds)).join(), /maintenance/);
  });

  test('threat 80: a number of pods that an operator sets with kubectl stays, even if it is 0, and `ps` and the server’s log report the change', async () => {
    const tool = 'scaled' as ToolName;
    const artifact = await bench.artifact({ 'web.py': webTool('one') }, [web()]);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
    const [deployment = ''] = await named(tool, 'deployment');
    for (const replicas of [0, 2]) {
      await kubectl('-n', namespaceOf(tool), 'scale', deployment, `--replicas=${replicas}`);
      await until(
        async () => linesOf(tool).some((line) => 'replicas' in line && line.replicas === replicas),
        'a line of the log',
      );
      await wait(3000);
      const spec = await kubectl(
        '-n',
        namespaceOf(tool),
        'get',
        deployment,
        '-o',
        'jsonpath={.spec.replicas}',
      );
      assert.equal(spec, String(replicas));
      assert.match(await details(tool), /changed outside of this server by .*\(scale\)/);
    }
    assert.equal(linesOf(tool).length, 2, JSON.stringify(linesOf(tool)));
    const next = bench.startAnother('next');
    await next.resume(releaseOf(tool, 1, artifact), 1, {});
    await next.close();
    const spec = await kubectl('-n', namespaceOf(tool), 'get', deployment, '-o', 'jsonpath={.spec.replicas}');
    assert.equal(spec, '2', 'a server that starts leaves it too');
  });

  test('objects of the old release that are deleted during a rollout are not created again beside the new release', async () => {
    const tool = 'replaced' as ToolName;
    const [one, two] = await Promise.all(
      ['one', 'two'].map((word) => bench.artifact({ 'web.py': webTool(word) }, [web()])),
    );
    assert.ok(one !== undefined && two !== undefined);
    await rollOut(bench.runtime, releaseOf(tool, 1, one));
    const [old = ''] = await named(tool, 'deployment');
    const beforeSwitch = async () =>
      void (await kubectl('-n', namespaceOf(tool), 'delete', old, '--wait=false'));
    await rollOut(bench.runtime, releaseOf(tool, 2, two), { beforeSwitch });
    await wait(bench.config.drain_time + 3000);
    const left = await until(async () => {
      const now = await named(tool, 'deployment,secret,poddisruptionbudget');
      return now.length === 3 && now;
    }, 'only the new release is left');
    for (const name of left) assert.match(name, /-v2-/);
    assert.equal((await bench.request(tool, '/')).body, 'two');
  });

  test('the Secret and the PodDisruptionBudget of a release are deleted with the Deployments of the release, also while no server runs', async () => {
    const tool = 'owned' as ToolName;
    const artifact = await bench.artifact({ 'web.py': webTool('x') }, [web()]);
    const server = bench.startAnother(tool);
    await rollOut(server, releaseOf(tool, 1, artifact, { API_KEY: 'secret' }));
    await server.close();
    const left = () => named(tool, 'secret,poddisruptionbudget');
    assert.equal((await left()).length, 2);
    await kubectl('-n', namespaceOf(tool), 'delete', 'deployment', '--all', '--wait=false');
    await until(async () => (await left()).length === 0, 'both to be gone', BACK_SECONDS);
  });

  test('each object of a release has one field manager, so that an operator sees who else has changed the object', async () => {
    const tool = 'managed' as ToolName;
    const artifacts = await Promise.all(
      ['one', 'two'].map((word) => bench.artifact({ 'web.py': webTool(word) }, [web()])),
    );
    for (const [index, artifact] of artifacts.entries()) {
      const release = releaseOf(tool, index + 1, artifact, { API_KEY: 'secret' });
      await rollOut(bench.runtime, release);
      await scale(bench.runtime, release, { web: 2 });
    }
    const kinds = 'deployment,service,ingress,secret,poddisruptionbudget,networkpolicy';
    const words = ['-n', namespaceOf(tool), 'get', kinds, '-o', 'json', '--show-managed-fields'];
    const { items } = JSON.parse(await kubectl(...words)) as KubernetesListObject<KubernetesObject>;
    assert.ok(items.length >= 6);
    for (const { kind, metadata } of items) {
      const own = (metadata?.managedFields ?? []).filter(({ subresource }) => subresource === undefined);
      const managers = own.filter(({ fieldsV1 = {} }) => 'f:spec' in fieldsV1 || 'f:data' in fieldsV1);
      assert.deepEqual([...new Set(managers.map(({ manager }) => manager))], ['toolforge-push'], kind);
    }
  });

  test('objects of a stopped tool, or in a deleted namespace, are not created again', async () => {
    const [stopped, gone] = ['stopped', 'gone'] as [ToolName, ToolName];
    const artifact = await bench.artifact({ 'web.py': webTool('x') }, [web()]);
    await Promise.all([stopped, gone].map((tool) => rollOut(bench.runtime, releaseOf(tool, 1, artifact))));
    await bench.runtime.stop(stopped);
    await kubectl('delete', 'namespace', namespaceOf(gone), '--wait=true');
    await wait(3000);
    assert.deepEqual(await named(stopped, 'deployment,secret'), []);
    assert.deepEqual(linesOf(stopped), []);
    const { items } = await bench.cluster.core.listNamespace();
    assert.ok(items.every(({ metadata }) => metadata?.name !== namespaceOf(gone)));
    await until(async () => linesOf(gone).length > 0, 'a line of the log', BACK_SECONDS);
    assert.match(await details(gone), /^web\.1: its namespace \S+-gone was deleted$/);
    assert.deepEqual(
      [...new Set(linesOf(gone).map(({ msg }) => msg))],
      ['namespace of a live release was deleted: nothing of the tool runs'],
    );
  });
});
