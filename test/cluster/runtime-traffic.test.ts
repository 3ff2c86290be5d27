import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { ToolName } from '../../src/core/names.ts';
import type { Artifact } from '../../src/core/types.ts';
import { releaseOf, rollOut } from '../run/contract-steps.ts';
import { web, webTool } from '../run/tool-sources.ts';
import { type ClusterBench, clusterBench, get } from './runtime-bench.ts';

const ROLLOUTS = 10;
const REQUESTS_A_SECOND = 50;
const MOST_MS = 6000;

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

  /** Rolls it out. @returns milliseconds until it had the traffic. */
  async function timed(t: TestContext, tool: ToolName, version: number, artifact: Artifact): Promise<number> {
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
    return endedAt - startedAt;
  }

  test('a rollout has traffic within 6 s, median of five on a node that has the image', async (t) => {
    const tool = 'quick' as ToolName;
    const took: number[] = [];
    for (const [index, artifact] of (await artifacts(6)).entries()) {
      took.push(await timed(t, tool, index + 1, artifact));
    }
    // The first also makes the namespace.
    const median = took.slice(1).toSorted((a, b) => a - b)[2] ?? 0;
    t.diagnostic(`median ${seconds(median)}`);
    assert.ok(median <= MOST_MS, `median ${seconds(median)}`);
  });

  test(`no request of ${REQUESTS_A_SECOND} a second fails during ${ROLLOUTS} rollouts in a row`, async (t) => {
    const tool = 'steady' as ToolName;
    const [first, ...others] = await artifacts(ROLLOUTS + 1);
    assert.ok(first !== undefined);
    await timed(t, tool, 1, first);
    const load = steadyLoad(tool);
    for (const [index, artifact] of others.entries()) await timed(t, tool, index + 2, artifact);
    const { answers, failures } = await load.end();
    t.diagnostic(`${answers} requests, ${failures.length} failed`);
    assert.deepEqual(failures, []);
    assert.ok(answers > ROLLOUTS * 2 * REQUESTS_A_SECOND, `only ${answers} requests`);
  });

  /** Requests at a steady pace, whether or not the ones before are answered. */
  function steadyLoad(tool: ToolName) {
    const agent = new Agent({ keepAlive: true, maxSockets: 100 });
    const host = `${tool}.${bench.config.domain}`;
    const failures: string[] = [];
    const open = new Set<Promise<void>>();
    let answers = 0;
    const ask = async (): Promise<void> => {
      try {
        const { status, body } = await get({ agent, host, path: '/' });
        if (status !== 200) failures.push(`${new Date().toISOString()} ${status} ${body.slice(0, 80)}`);
        answers += 1;
      } catch (error) {
        failures.push(`${new Date().toISOString()} ${String(error)}`);
      }
    };
    const timer = setInterval(() => {
      const asking = ask().finally(() => open.delete(asking));
      open.add(asking);
    }, 1000 / REQUESTS_A_SECOND);
    return {
      end: async () => {
        // Until the last old release is gone.
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
