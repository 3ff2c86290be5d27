import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { ApiException } from '@kubernetes/client-node';
import type { ToolName } from '../../../src/core/names.ts';
import type { Artifact } from '../../../src/core/types.ts';
import type { Answer } from '../../contracts/runtime.ts';
import { releaseOf, rollOut } from '../../run/contract-steps.ts';
import { web, webTool } from '../../run/tool-sources.ts';
import { type ClusterBench, clusterBench, get } from './runtime-bench.ts';

const ROLLOUTS = 10;
const REQUESTS_A_SECOND = 50;

describe('rollouts under load', { concurrency: 1 }, () => {
  let bench: ClusterBench;
  before(async () => {
    bench = await clusterBench({ config: { health_time: 60_000, ingress_time: 1000 } });
  });
  after(() => bench.close());

  const artifacts = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, index) =>
        bench.artifact({ 'web.py': webTool(`v${index + 1}`) }, [web()]),
      ),
    );

  /** Rolls out, and prints how long each step took. */
  async function rollOutTimed(
    t: TestContext,
    tool: ToolName,
    version: number,
    artifact: Artifact,
  ): Promise<void> {
    const startedAt = performance.now();
    let healthyAt = 0;
    const beforeSwitch = async () => {
      healthyAt = performance.now();
    };
    await rollOut(bench.runtime, releaseOf(tool, version, artifact), { beforeSwitch });
    const endedAt = performance.now();
    t.diagnostic(
      `v${version}: ${seconds(endedAt - startedAt)} to traffic (healthy ${seconds(healthyAt - startedAt)}, switch ${seconds(endedAt - healthyAt)})`,
    );
    assert.equal((await bench.request(tool, '/')).body, `v${version}`);
  }

  test(`no request fails during ${ROLLOUTS} rollouts in a row, at ${REQUESTS_A_SECOND} requests a second`, async (t) => {
    const tool = 'steady' as ToolName;
    const [first, ...others] = await artifacts(ROLLOUTS + 1);
    assert.ok(first !== undefined);
    await rollOutTimed(t, tool, 1, first);
    const load = steadyLoad(tool);
    for (const [index, artifact] of others.entries()) await rollOutTimed(t, tool, index + 2, artifact);
    const { answers, failures } = await load.end();
    t.diagnostic(`${answers} requests, ${failures.length} failed`);
    assert.deepEqual(failures, []);
    assert.ok(answers > ROLLOUTS * 2 * REQUESTS_A_SECOND, `only ${answers} requests`);
  });

  test('each request gets the tool or its maintenance page when maintenance begins, when a release goes live during maintenance, and when maintenance ends', async (t) => {
    const tool = 'mended' as ToolName;
    const page = '<h1>Back at noon</h1>';
    const [one, two] = await Promise.all(
      ['v1', 'v2'].map((word) =>
        bench.artifact({ 'web.py': webTool(word), 'maintenance.html': page }, [web()]),
      ),
    );
    assert.ok(one !== undefined && two !== undefined);
    await rollOut(bench.runtime, releaseOf(tool, 1, one));
    const seen: string[] = [];
    const load = steadyLoad(tool, ({ status, body }) => {
      const what = `${status} ${body}`;
      if (seen.at(-1) !== what) seen.push(what);
      return ['200 v1', '200 v2', `503 ${page}`].includes(what);
    });
    assert.equal(await bench.runtime.beginMaintenance(releaseOf(tool, 1, one), 1), true);
    // Requests that began before may still be answered by the tool.
    await wait(1000);
    const begun = seen.length;
    await rollOut(bench.runtime, releaseOf(tool, 2, two));
    await wait(3000);
    assert.equal(seen.length, begun, seen.join());
    await bench.runtime.endMaintenance(tool);
    const ended = seen.length;
    const { answers, failures } = await load.end();
    t.diagnostic(`${answers} requests, ${failures.length} failed; in order: ${seen.join(', ')}`);
    assert.deepEqual(failures, []);
    assert.equal(seen.at(-1), '200 v2');
    assert.equal(seen.length, ended, seen.join());
  });

  test('the drain of a node evicts all three pods of a tool, and no request fails', async (t) => {
    const tool = 'drained' as ToolName;
    const [artifact] = await artifacts(1);
    assert.ok(artifact !== undefined);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact), { replicas: { web: 3 } });
    const load = steadyLoad(tool);
    await wait(1000);
    const evicted = await drain(tool, AbortSignal.timeout(60_000));
    const { answers, failures } = await load.end();
    t.diagnostic(`${evicted} pods evicted, ${answers} requests, ${failures.length} failed`);
    assert.equal(evicted, 3);
    assert.deepEqual(failures, []);
  });

  test('a tool with one pod does not block the drain of its node', async () => {
    const tool = 'single' as ToolName;
    const [artifact] = await artifacts(1);
    assert.ok(artifact !== undefined);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
    assert.equal(await drain(tool, AbortSignal.timeout(3000)), 1);
  });

  test('no tool gets this server’s own host name, whatever the tool is called, because it would then receive people’s passwords', async () => {
    const domain = `own-${bench.config.domain}`;
    await using stack = new AsyncDisposableStack();
    const own = await clusterBench({ config: { domain, public_url: `https://push.${domain}` } });
    stack.defer(() => own.close());
    const artifact = await own.artifact({ 'web.py': webTool('I am the server') }, [web()]);
    for (const tool of ['push', 'other'] as ToolName[]) {
      const said = await rollOut(own.runtime, releaseOf(tool, 1, artifact));
      const namespace = `${own.prefix}${tool}`;
      const { items } = await own.cluster.networking.listNamespacedIngress({ namespace });
      const hosts = items.flatMap(({ spec }) => (spec?.rules ?? []).map(({ host }) => host));
      assert.deepEqual(hosts, tool === 'push' ? [] : [`other.${domain}`]);
      assert.equal(own.runtime.address(tool) === null, tool === 'push');
      assert.equal(said.includes(`push.${domain} is the address of this server`), tool === 'push', said);
    }
    await wait(15_000);
    const { items } = await own.cluster.networking.listNamespacedIngress({ namespace: `${own.prefix}push` });
    assert.deepEqual(items, [], 'the server has made the missing Ingress later');
  });

  /** Evicts every pod that exists now, like `kubectl drain`: retries while a budget refuses. */
  async function drain(tool: ToolName, signal: AbortSignal): Promise<number> {
    const { core } = bench.cluster;
    const namespace = `${bench.prefix}${tool}`;
    const { items } = await core.listNamespacedPod({ namespace });
    const evict = async (name: string): Promise<void> => {
      for (;;) {
        const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
        try {
          await core.createNamespacedPodEviction({ name, namespace, body });
          return;
        } catch (error) {
          if (!(error instanceof ApiException) || error.code !== 429) throw error;
        }
        await wait(250, null, { signal });
      }
    };
    await Promise.all(items.map(({ metadata }) => evict(metadata?.name ?? '')));
    return items.length;
  }

  /** Sends requests at a fixed rate, whether or not earlier ones were answered. */
  function steadyLoad(tool: ToolName, isFine = ({ status }: Answer) => status === 200) {
    const agent = new Agent({ keepAlive: true, maxSockets: 100 });
    const host = `${tool}.${bench.config.domain}`;
    const failures: string[] = [];
    const open = new Set<Promise<void>>();
    let answers = 0;
    const ask = async (): Promise<void> => {
      try {
        const answer = await get({ agent, host, path: '/' });
        const { status, body } = answer;
        if (!isFine(answer)) failures.push(`${new Date().toISOString()} ${status} ${body.slice(0, 80)}`);
        answers += 1;
      } catch (error) {
        failures.push(`${new Date().toISOString()} ${String(error)}`);
      }
    };
    const timer = setInterval(() => {
      const asking = ask().finally(() => open.delete(asking));
      open.add(asking);
    }, 1000 / REQUESTS_A_SECOND);
    // A test that fails does not end its load. Then the load must not keep this process running for ever.
    timer.unref();
    return {
      end: async () => {
        // Continue until the last old release has ended.
        await wait(bench.config.drain_time + 5000);
        clearInterval(timer);
        await Promise.all(open);
        agent.destroy();
        return { answers, failures };
      },
    };
  }
});

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
