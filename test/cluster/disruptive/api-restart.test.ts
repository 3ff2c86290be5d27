import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { run, until } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';
import { builderWithScript } from '../installation/images.ts';
import { ClusterServer } from '../pushes/cluster-server.ts';

const TOOL = 'base';
const LIMIT_MS = 120_000;
/** A command line for `sh -c` that restarts the API server and returns when it answers. */
const restart = process.env['CLUSTER_API_RESTART'] ?? '';
const skip =
  restart === ''
    ? 'CLUSTER_API_RESTART is not set: a restart would disturb other users of the cluster'
    : false;

describe('threat 75: the API server is restarted during a push', { concurrency: 1, skip }, () => {
  let there: ClusterServer;
  let tree: WorkTree;

  before(async () => {
    there = await ClusterServer.start(await builderWithScript(), {
      TOOLFORGE_PUSH_DRAIN_TIME: '0',
      TOOLFORGE_PUSH_GRACE_TIME: '1',
      TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m',
    });
    await there.server.addTool(TOOL);
    tree = await WorkTree.create(there.server, 'ssh', TOOL);
    await tree.commit('one', webTool('one'));
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  });
  after(() => there?.[Symbol.asyncDispose]());

  /** The start time of the API server's process, in seconds since 1970. */
  async function startedAt(): Promise<number> {
    const { stdout } = await run('kubectl', ['get', '--raw', '/metrics']);
    return Number(/^process_start_time_seconds (\S+)$/m.exec(stdout)?.[1]);
  }

  /** Pushes, restarts the API server when `isMidway` returns true, and asserts what is live. */
  async function pushesThrough(
    isMidway: () => Promise<boolean>,
    where: string,
    answer: string,
  ): Promise<void> {
    const before = await startedAt();
    const old = (await there.get(TOOL)).body;
    let isOver = false;
    const seen = new Set<string>();
    const watching = (async () => {
      while (!isOver) {
        const { status, body } = await there.get(TOOL);
        seen.add(`${status} ${body}`);
        await wait(100);
      }
    })();
    await (async () => {
      const pushing = tree.push();
      await until(isMidway, where, LIMIT_MS);
      const restarted = await run('sh', ['-c', restart]);
      assert.equal(restarted.exitCode, 0, restarted.stderr);
      const pushed = await pushing;
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      // The ingress controller must reconnect to its API server too.
      await until(async () => (await there.get(TOOL)).body === answer, 'the new release answers', 30_000);
    })().finally(() => {
      isOver = true;
    });
    await watching;
    assert.ok((await startedAt()) > before, 'CLUSTER_API_RESTART has restarted nothing');
    assert.deepEqual(
      [...seen].sort(),
      [`200 ${answer}`, `200 ${old}`].sort(),
      'other answers than the old and the new release',
    );
    const main = (await tree.git('ls-remote', 'toolforge', 'refs/heads/main')).stdout.split('\t')[0];
    assert.equal(main, await tree.head());
    const { items } = await there.cluster.batch.listNamespacedJob({ namespace: there.builds });
    assert.deepEqual(items, [], 'a build was left');
  }

  test('if the cluster’s API server restarts during a build, the build continues, its output is complete, and the release goes live', async () => {
    await tree.commit(
      'two',
      webTool('two', 'echo begun; for i in $(seq 20); do sleep 1; echo "step $i"; done'),
    );
    const folder = join(there.server.folder, 'data/deployments', TOOL);
    const logs = async () =>
      (await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')))).join(
        '',
      );
    await pushesThrough(async () => (await logs()).includes('begun'), 'the build has begun', 'two');
    const steps = [...(await logs()).matchAll(/step (\d+)/g)].map(([, step]) => Number(step));
    assert.deepEqual(
      steps,
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });

  test('if the cluster’s API server restarts during a rollout, the rollout continues, and the release goes live', async () => {
    const { 'server.py': server = '', ...files } = webTool('three');
    await tree.commit('three', { ...files, 'server.py': `import time\ntime.sleep(15)\n${server}` });
    const namespace = `${there.prefix}${TOOL}`;
    const isStarting = async () =>
      (await there.cluster.core.listNamespacedPod({ namespace })).items.some(
        ({ metadata, status }) =>
          metadata?.labels?.['push.toolforge.org/version'] === '3' && status?.phase === 'Running',
      );
    await pushesThrough(isStarting, 'the new pod runs', 'three');
  });
});
