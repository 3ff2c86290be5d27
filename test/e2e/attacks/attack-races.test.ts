import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import { run, TestServer, until } from '../../support/server.ts';
import { type Files, liveTool, WorkTree, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '8' });
});
after(async () => server[Symbol.asyncDispose]());

let serial = 0;
function newTool() {
  serial += 1;
  return liveTool(server, `race-${serial}`);
}

interface Row {
  readonly state: string;
  readonly commit: string;
  readonly version: number | null;
}

async function rows(list: 'deployments' | 'releases', name: string): Promise<Row[]> {
  return JSON.parse((await server.command(list, name, '--json')).stdout) as Row[];
}

async function inState(name: string, wanted: string): Promise<void> {
  await until(async () => (await rows('deployments', name)).some(({ state }) => state === wanted), wanted);
}

/** The files of a web tool that opens its port only after some seconds. */
function lateTool(text: string, seconds = 3): Files {
  const files = webTool(text);
  return { ...files, 'server.py': `import time\ntime.sleep(${seconds})\n${files['server.py']}` };
}

/** Waits until no deployment is in progress, then asserts that store, branch and page agree. */
async function assertTrue(name: string, text: string): Promise<void> {
  await until(
    async () => (await rows('deployments', name)).every(({ state }) => !/waiting|ing/.test(state)),
    'quiet',
  );
  const live = (await rows('releases', name)).filter(({ state }) => state === 'live');
  assert.equal(live.length, 1);
  assert.equal(await server.inRepository(name, 'rev-parse', 'refs/heads/main'), live[0]?.commit);
  assert.deepEqual(await server.get(name), { status: 200, body: text });
}

describe('races', { concurrency: 4 }, () => {
  test('promise 6: a push that is cancelled during its build or rollout says that it was cancelled if `cancel` succeeds, and otherwise goes live', async () => {
    const { name, tree } = await newTool();
    let text = 'one';
    for (const at of ['building', 'rolling-out', 'soon'] as const) {
      const commit = await tree.commit(
        at,
        at === 'building' ? webTool(at, 'sleep 20') : lateTool(at, at === 'soon' ? 0.4 : 20),
      );
      const pushing = tree.push('-f', 'toolforge', 'main');
      await inState(name, at === 'soon' ? 'rolling-out' : at);
      const cancelled = await server.command('cancel', name);
      const pushed = await pushing;
      const isLive = (await server.inRepository(name, 'rev-parse', 'main')) === commit;
      if (isLive) text = at;
      assert.equal(pushed.exitCode === 0, isLive, pushed.stderr);
      assert.equal(cancelled.exitCode === 0, !isLive, cancelled.stdout + cancelled.stderr);
      if (!isLive) assert.match(pushed.stderr, /cancelled by .*; v\d+ is still live/);
      await assertTrue(name, text);
    }
  });

  test('promise 6: cancelling a waiting push does not affect the running push, and a second push of the cancelled commit goes live', async () => {
    const { name, tree } = await newTool();
    await tree.commit('slow', webTool('slow', 'sleep 2'));
    const running = tree.push();
    await inState(name, 'building');
    await tree.commit('next', webTool('next'));
    const waiting = tree.push();
    await inState(name, 'waiting');
    const [{ id = '' } = {}] = (await rows('deployments', name)) as (Row & { id?: string })[];
    assert.equal((await server.command('cancel', name, id)).exitCode, 0);
    assert.notEqual((await waiting).exitCode, 0);
    const again = tree.push();
    assert.equal((await running).exitCode, 0);
    assert.equal((await again).exitCode, 0, (await again).stderr);
    await assertTrue(name, 'next');
  });

  test('promise 3: a rollback, a change of config vars, a restart and a push that begin at the same time run one after the other, and all succeed', async () => {
    const { name, tree, first } = await newTool();
    await tree.commit('two', webTool('two'));
    assert.equal((await tree.push()).exitCode, 0);
    await tree.commit('three', webTool('three', 'sleep 2'));
    const pushing = tree.push();
    await inState(name, 'building');
    const settled = await Promise.all([
      server.command('rollback', name, 'v1'),
      server.command('config', 'set', name, 'A=1'),
      server.command('restart', name),
      pushing,
    ]);
    assert.deepEqual(
      settled.map(({ exitCode }) => exitCode),
      [0, 0, 0, 0],
      JSON.stringify(settled),
    );
    assert.equal((await rows('releases', name)).length, 5);
    assert.equal(await server.inRepository(name, 'rev-parse', 'main'), first);
    await assertTrue(name, 'one');
  });

  test('promise 2: the command `stop` is refused during the rollout of a push, and the push goes live', async () => {
    const { name, tree } = await newTool();
    await tree.commit('two', lateTool('two', 2));
    const pushing = tree.push();
    await inState(name, 'rolling-out');
    const stopped = await server.command('stop', name);
    assert.notEqual(stopped.exitCode, 0);
    assert.match(stopped.stderr, /under way/);
    const pushed = await pushing;
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    await assertTrue(name, 'two');
  });

  test('threat 8: if a tool is removed during its push, the server continues, and the former maintainer of the tool can no longer push to it', async () => {
    const { name, tree } = await newTool();
    await tree.commit('two', webTool('two', 'sleep 2'));
    const pushing = tree.push();
    await inState(name, 'building');
    await new DirectoryFile(join(server.folder, 'data/directory.yaml')).removeTool(name);
    await pushing;
    assert.notEqual((await tree.push('-f')).exitCode, 0);
    assert.equal((await server.command('ps', name)).exitCode, 1);
    assert.ok(process.kill(server.pid, 0));
  });

  test('promise 5: if the client of a push is killed at any of six moments, the push still goes live if the server had accepted it', async () => {
    const { name, tree } = await newTool();
    let text = 'one';
    for (const delayMs of [60, 150, 250, 400, 700, 1100]) {
      const commit = await tree.commit(`after ${delayMs}`, webTool(`after ${delayMs}`));
      const leaving = AbortSignal.timeout(delayMs);
      await tree.gitUntil(leaving, 'SIGKILL', 'push', '-f', 'toolforge', 'main').catch(() => undefined);
      // git continues without its client until its hook has ended. Before that, nobody knows if the push was accepted.
      const git = ['-f', `receive-pack .*/${name}\\.git`];
      await until(async () => (await run('pgrep', git)).exitCode === 1, 'git has ended');
      await until(
        async () => (await rows('deployments', name)).every(({ state }) => !/waiting|ing/.test(state)),
        'quiet',
      );
      const [newest] = await rows('deployments', name);
      if (newest?.commit === commit) {
        assert.equal(newest.state, 'live', delayMs.toString());
        text = `after ${delayMs}`;
      }
      await assertTrue(name, text);
    }
  });

  test('promise 3, threat 50: of twelve simultaneous pushes of sibling commits, one goes live, and only this push gets ok', async () => {
    const { name } = await newTool();
    const trees = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        const tree = await WorkTree.create(server, index % 2 === 0 ? 'ssh' : 'http', name);
        await tree.git('fetch', '--quiet', 'toolforge');
        await tree.git('reset', '--quiet', '--hard', 'toolforge/main');
        return { commit: await tree.commit(`s${index}`, webTool(`s${index}`)), tree, text: `s${index}` };
      }),
    );
    const pushed = await Promise.all(trees.map(async (one) => ({ ...one, ...(await one.tree.push()) })));
    const winners = pushed.filter(({ exitCode }) => exitCode === 0);
    assert.equal(winners.length, 1, pushed.map(({ stderr }) => stderr.split('\n').at(-2)).join('\n'));
    assert.equal(await server.inRepository(name, 'rev-parse', 'main'), winners[0]?.commit);
    await assertTrue(name, winners[0]?.text ?? '');
  });

  test('threat 59: nonsense and reports of unknown pushes on the server’s socket neither end the server nor fill its memory', async () => {
    const path = join(server.folder, 'data/run/server.sock');
    for (const text of [
      'hook 20260101-000000-aaaaaaaaaa\n0 1 refs/heads/main\n',
      'hook ../../x\n',
      'hook \n',
      '\n',
      'GET / HTTP/1.1\n\n',
      '{"argv":["tools"]}\n',
      'x'.repeat(2 * 1024 * 1024),
    ]) {
      const socket = connect(path);
      socket.on('error', () => undefined);
      const closed = new Promise((resolve) => {
        socket.once('close', resolve);
      });
      socket.end(text);
      socket.resume();
      await closed;
    }
    assert.ok(process.kill(server.pid, 0));
    const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
    assert.ok(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) < 400_000);
    assert.equal((await readdir(join(server.folder, 'data/run'))).includes('server.sock'), true);
  });
});
