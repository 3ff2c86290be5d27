import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { ToolName } from '../../src/core/names.ts';
import type { Runtime } from '../../src/run/runtime.ts';
import {
  failing,
  logOf,
  releaseOf,
  rollOut,
  scale,
  until,
  withLongSettleTime,
} from '../run/contract-steps.ts';
import { namedCommand, politeWorker, web, webTool, worker } from '../run/tool-sources.ts';
import type { Answer, RuntimeBench } from './runtime.ts';

/** The promises of every Runtime about scaling. */
export function scaleContract(benchNow: () => RuntimeBench): void {
  const ask = async (tool: ToolName, path = '/') => (await benchNow().request(tool, path)).body;
  const webArtifact = (word: string) => benchNow().artifact({ 'web.py': webTool(word) }, [web()]);
  const names = async (tool: ToolName, runtime: Runtime = benchNow().runtime) =>
    (await runtime.status(tool)).filter(({ state }) => state === 'up').map(({ name }) => name);
  const runs = (tool: ToolName, count: number) =>
    until(async () => {
      const all = await benchNow().runtime.status(tool);
      return all.length === count && all.every(({ state }) => state === 'up');
    }, `${count} processes`);
  const scaleSlowly = (...args: Parameters<typeof scale>) =>
    withLongSettleTime(benchNow(), () => scale(...args));
  const answering = (tool: ToolName, count: number) =>
    until(async () => {
      const ids = await Promise.all(Array.from({ length: 12 }, () => ask(tool, '/id')));
      return new Set(ids).size === count && new Set(ids);
    }, `answers of ${count} processes`);

  test('scale: new processes share the requests, each with a name and a log, and running processes are not restarted', async () => {
    const { runtime } = benchNow();
    const tool = 'more' as ToolName;
    const release = releaseOf(tool, 1, await webArtifact('more'));
    await rollOut(runtime, release);
    const first = await ask(tool, '/id');
    const seen = await scale(runtime, release, { web: 3 });
    assert.match(seen, /^ {7}web\.2 started · healthy after \d+\.\d s$/m);
    assert.match(seen, /^ {7}web\.3 started/m);
    assert.doesNotMatch(seen, /web\.1/);
    assert.deepEqual((await names(tool)).sort(), ['web.1', 'web.2', 'web.3']);
    assert.ok((await answering(tool, 3)).has(first));
    await until(
      async () => (await logOf(runtime, tool, 'web.3')).some(({ text }) => text === 'more starts'),
      'the log',
    );
    const statuses = await runtime.status(tool);
    assert.deepEqual(
      statuses.map(({ restarts }) => restarts),
      [0, 0, 0],
    );
  });

  test('scale: no request fails while a tool is scaled up and down', async () => {
    const { runtime, request } = benchNow();
    const tool = 'waves' as ToolName;
    const release = releaseOf(tool, 1, await webArtifact('waves'));
    await rollOut(runtime, release);
    const stop = new AbortController();
    const answers: Answer[] = [];
    const client = async () => {
      while (!stop.signal.aborted) {
        answers.push(await request(tool, '/'));
        await wait(10);
      }
    };
    const clients = Array.from({ length: 3 }, client);
    for (const count of [3, 1, 2]) {
      await scale(runtime, release, { web: count });
      await runs(tool, count);
    }
    const enough = answers.length + 100;
    await until(async () => answers.length > enough, 'enough requests');
    stop.abort();
    await Promise.all(clients);
    assert.deepEqual(
      answers.filter(({ status, body }) => status !== 200 || body !== 'waves'),
      [],
    );
  });

  test('scale: the processes of one type are replaced by new ones while others go on, and no request fails', async () => {
    const { runtime, request, artifact } = benchNow();
    const tool = 'renew' as ToolName;
    const files = { 'web.py': webTool('renew'), 'worker.py': politeWorker };
    const release = releaseOf(tool, 1, await artifact(files, [web(), worker()]));
    await rollOut(runtime, release, { replicas: { web: 2 } });
    const before = await answering(tool, 2);
    const started = async () => {
      const all = await runtime.status(tool);
      return all.find(({ name }) => name === 'worker.1')?.startedAt;
    };
    const workerStart = await started();
    const stop = new AbortController();
    const answers: Answer[] = [];
    const client = (async () => {
      while (!stop.signal.aborted) {
        answers.push(await request(tool, '/'));
        await wait(10);
      }
    })();
    let recorded = 0;
    const beforeSwitch = async () => {
      recorded += 1;
    };
    const seen = await scale(runtime, release, { web: 2 }, { renewed: 'web', beforeSwitch });
    assert.match(seen, /web\.3 started/);
    assert.match(seen, /web\.4 started/);
    await runs(tool, 3);
    assert.deepEqual((await names(tool)).sort(), ['web.3', 'web.4', 'worker.1']);
    const after = await answering(tool, 2);
    stop.abort();
    await client;
    assert.equal([...after].filter((id) => before.has(id)).length, 0);
    assert.deepEqual([recorded, await started()], [1, workerStart]);
    assert.deepEqual(
      answers.filter(({ status, body }) => status !== 200 || body !== 'renew'),
      [],
    );
  });

  test('scale: if a new process crashes, the error says so; after this, and after a cancel, the tool has as many processes as before', async () => {
    const { runtime, artifact, rollOutSeconds } = benchNow();
    const tool = 'late' as ToolName;
    const end = Date.now() / 1000 + rollOutSeconds;
    const late = (what: string) => `import sys, time\nif time.time() > ${end}: ${what}\n`;
    const files = {
      'web.py': `${late("print('thinking', flush=True); time.sleep(1000)")}${webTool('late')}`,
      'worker.py': `${late('sys.exit(7)')}${politeWorker}`,
    };
    const release = releaseOf(tool, 1, await artifact(files, [web(), worker()]));
    await rollOut(runtime, release);
    const first = await ask(tool, '/id');
    await wait(Math.max(0, end * 1000 - Date.now()) + 100);
    const { error } = await failing(scaleSlowly(runtime, release, { worker: 2 }));
    assert.equal(error.code, 'ROLLOUT_CRASHED');
    assert.equal(error.message, 'worker.2 exited with code 7');
    await runs(tool, 2);
    const cancel = new AbortController();
    const scaling = scale(runtime, release, { web: 2 }, { signal: cancel.signal });
    scaling.catch(() => {});
    // In a cluster, the log of a process may come after its end, but the status shows the process earlier.
    await until(
      async () =>
        (await runtime.status(tool)).some(({ name }) => name === 'web.2') ||
        (await logOf(runtime, tool, 'web.2')).some(({ text }) => text === 'thinking'),
      'the new one',
    );
    cancel.abort();
    await assert.rejects(scaling, { name: 'AbortError' });
    await runs(tool, 2);
    assert.equal(await ask(tool, '/id'), first);
  });

  test('a named command does not start with its release; a scale starts it, and a scale to 0 ends it', async () => {
    const { runtime, artifact } = benchNow();
    const tool = 'named' as ToolName;
    const files = { 'web.py': webTool('named'), 'worker.py': politeWorker };
    const built = await artifact(files, [
      web(),
      namedCommand('worker', 'worker.py'),
      { ...namedCommand('fail', ''), command: ['sh', '-c', 'exit 7'] },
    ]);
    const release = releaseOf(tool, 1, built);
    await rollOut(runtime, release);
    assert.deepEqual(await names(tool), ['web.1']);
    const { error } = await failing(scaleSlowly(runtime, release, { fail: 1 }));
    assert.equal(error.message, 'fail.1 exited with code 7');
    await runs(tool, 1);
    const seen = await scale(runtime, release, { worker: 2 });
    assert.match(seen, /worker\.2 started/);
    assert.deepEqual((await names(tool)).sort(), ['web.1', 'worker.1', 'worker.2']);
    const next = releaseOf(tool, 2, built);
    await rollOut(runtime, next, { replicas: { worker: 1 } });
    await runs(tool, 2);
    await scale(runtime, next, { worker: 0 });
    await runs(tool, 1);
    assert.equal(await ask(tool), 'named');
  });

  test('a release of named commands alone goes live and replaces the previous release; a scale can then start a command', async () => {
    const { runtime, artifact, request } = benchNow();
    const tool = 'commands' as ToolName;
    const files = { 'web.py': webTool('before'), 'worker.py': politeWorker };
    const built = await artifact(files, [web(), namedCommand('worker', 'worker.py')]);
    await rollOut(runtime, releaseOf(tool, 1, built));
    const release = releaseOf(tool, 2, { ...built, processes: [namedCommand('worker', 'worker.py')] });
    await rollOut(runtime, release);
    await runs(tool, 0);
    assert.equal((await request(tool, '/')).status, 404);
    await scale(runtime, release, { worker: 1 });
    assert.deepEqual(await names(tool), ['worker.1']);
    await rollOut(runtime, { ...release, version: 3 });
    await runs(tool, 0);
  });

  test('scale: if the new numbers cannot be recorded, the new processes end, and the earlier processes keep running', async () => {
    const { runtime } = benchNow();
    const tool = 'unrecorded' as ToolName;
    const artifact = await benchNow().artifact({ 'web.py': webTool('un'), 'worker.py': politeWorker }, [
      web(),
      worker(),
    ]);
    const release = releaseOf(tool, 1, artifact);
    await rollOut(runtime, release, { replicas: { worker: 2 } });
    const during: string[] = [];
    const beforeSwitch = async () => {
      during.push(...(await names(tool)).filter((name) => name.startsWith('worker')));
      throw new Error('the store is full');
    };
    const scaling = scale(runtime, release, { web: 2, worker: 1 }, { beforeSwitch });
    await assert.rejects(scaling, /the store is full/);
    assert.deepEqual(during.sort(), ['worker.1', 'worker.2']);
    await runs(tool, 3);
    assert.deepEqual((await names(tool)).map((name) => name.split('.')[0]).sort(), [
      'web',
      'worker',
      'worker',
    ]);
  });

  test('scale: one process type can be scaled to 0 and back while other types keep running', async () => {
    const { runtime, request } = benchNow();
    const tool = 'none' as ToolName;
    const artifact = await benchNow().artifact({ 'web.py': webTool('some'), 'worker.py': politeWorker }, [
      web(),
      worker(),
    ]);
    const release = releaseOf(tool, 1, artifact);
    await rollOut(runtime, release);
    await scale(runtime, release, { web: 0 });
    await runs(tool, 1);
    assert.deepEqual(await names(tool), ['worker.1']);
    assert.match(String((await request(tool, '/')).status), /^50[23]$/);
    const startedAt = performance.now();
    await rollOut(runtime, releaseOf(tool, 2, artifact), { replicas: { web: 0 } });
    // If the rollout waited for the web process, it would wait 60 s in a cluster (`pod_start_time`).
    assert.ok(
      performance.now() - startedAt < 30_000,
      'the rollout does not wait for a type with 0 processes',
    );
    await scale(runtime, releaseOf(tool, 2, artifact), { web: 1 });
    await until(async () => (await request(tool, '/')).status === 200, 'an answer');
  });

  test('scale: a rollout and a resume run the recorded numbers of processes', async () => {
    const { runtime } = benchNow();
    const tool = 'kept' as ToolName;
    const release = releaseOf(tool, 1, await webArtifact('kept'));
    const seen = await rollOut(runtime, release, { replicas: { web: 2, gone: 3 } });
    assert.match(seen, /web\.1 started[\s\S]*web\.2 started|web\.2 started[\s\S]*web\.1 started/);
    assert.equal((await names(tool)).length, 2);
    await runtime.stop(tool);
    await runtime.resume(release, 1, { web: 2 });
    await runs(tool, 2);
    await answering(tool, 2);
  });

  test('scale: if one of several processes crashes, only that process is restarted, and the tool still answers', async () => {
    const { runtime, request } = benchNow();
    const tool = 'one-of-two' as ToolName;
    await rollOut(runtime, releaseOf(tool, 1, await webArtifact('alive')), { replicas: { web: 2 } });
    assert.equal((await request(tool, '/leave')).status, 200);
    await until(async () => {
      const restarts = (await runtime.status(tool)).map((status) => status.restarts);
      return restarts.toSorted().join() === '0,1';
    }, 'the restart of one');
    await runs(tool, 2);
    assert.equal(await ask(tool), 'alive');
  });
}
