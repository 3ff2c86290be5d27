import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, TestServer, until } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';

const main = join(import.meta.dirname, '../../../src/main.ts');

test('with the setting sandbox: trusted, the only user can deploy; with a second user or a public address, the server does not start', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_SANDBOX: 'trusted' });
  assert.match(server.told, / ! {5}The setting sandbox is trusted: every tool runs with your own rights/);
  const tree = await WorkTree.create(server, 'http', 'hello');
  await tree.commit('one', webTool('one'));
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal((await server.get('hello')).body, 'one');
  await tree.commit('two', webTool('two', 'exit 4'));
  assert.match((await tree.push()).stderr, /script exited 4; v1 is still live/);
  await server.kill('SIGKILL');
  await server.boot();

  await server.kill('SIGTERM');
  const outside = await run(process.execPath, [main], {
    env: { ...server.environment, TOOLFORGE_PUSH_SSH: '0.0.0.0:0' },
  });
  assert.equal(outside.exitCode, 1);
  assert.match(outside.stderr, /NEEDS_ISOLATION: 0\.0\.0\.0 can be reached/);
  assert.equal((await server.local('user', 'add', 'second')).exitCode, 0);
  const second = await run(process.execPath, [main], { env: server.environment });
  assert.equal(second.exitCode, 1);
  assert.match(second.stderr, /NEEDS_ISOLATION: There are 2 users/);
  assert.match(second.stderr, /apt-get install bubblewrap passt/);
});

/** The ids of all processes whose working folder is in an artifact of this server. */
async function toolProcesses(server: TestServer): Promise<number[]> {
  const entries = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const found = await Promise.all(
    entries.map(async (entry) => {
      const cwd = await readlink(`/proc/${entry}/cwd`).catch(() => '');
      return cwd.startsWith(`${server.folder}/data/artifacts/`) ? [Number(entry)] : [];
    }),
  );
  return found.flat();
}

test('two SIGINTs, as npx sends for one Ctrl-C, leave no process of a tool running, and the server says that the tools are down', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_SANDBOX: 'trusted' });
  const tree = await WorkTree.create(server, 'http', 'hello');
  for (const word of ['one', 'two']) {
    await tree.commit(word, webTool(word));
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  }
  assert.notDeepEqual(await toolProcesses(server), []);
  const stopping = server.kill('SIGINT');
  await until(async () => server.lines.some(({ msg }) => msg === 'stopping'), 'the first Ctrl-C is handled');
  process.kill(server.pid, 'SIGINT');
  await stopping;
  assert.deepEqual(await toolProcesses(server), []);
  assert.match(server.told, /^Stopped\. Your tools are down until the next start\.$/m);
});

test('a server that refuses to start still ends the processes of tools that a killed server left', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_SANDBOX: 'trusted' });
  const tree = await WorkTree.create(server, 'http', 'hello');
  await tree.commit('one', webTool('one'));
  assert.equal((await tree.push()).exitCode, 0);
  await server.kill('SIGKILL');
  assert.notDeepEqual(await toolProcesses(server), []);
  const refused = await run(process.execPath, [main], {
    env: { ...server.environment, TOOLFORGE_PUSH_SSH: '0.0.0.0:0' },
  });
  assert.match(refused.stderr, /NEEDS_ISOLATION/);
  assert.deepEqual(await toolProcesses(server), []);
});

test('after the setting sandbox changes from trusted to isolated, `restart` and `rollback` refuse earlier artifacts, and `redeploy` or a push builds them again', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_SANDBOX: 'trusted' });
  const tree = await WorkTree.create(server, 'http', 'hello');
  const first = await tree.commit('one', webTool('one'));
  assert.equal((await tree.push()).exitCode, 0);
  await tree.commit('two', webTool('two'));
  assert.equal((await tree.push()).exitCode, 0);

  await server.kill('SIGTERM');
  server.change({ TOOLFORGE_PUSH_SANDBOX: 'isolated' });
  await server.boot();
  const page = await until(async () => {
    const answer = await server.get('hello');
    return answer.status === 502 && answer;
  }, 'the page');
  assert.match(
    page.body,
    /web\.1 was built without isolation, and tools are isolated now: build it again \(ssh .+ redeploy hello\)/,
  );
  const restarted = await server.command('restart', 'hello');
  assert.equal(restarted.exitCode, 1);
  assert.match(restarted.stderr, /v2 of hello was built without isolation/);
  assert.match(restarted.stderr, /Build the release again: ssh .+ redeploy hello$/);
  const rolledBack = await server.command('rollback', 'hello');
  assert.match(rolledBack.stderr, /v1 of hello was built without isolation/);
  assert.match(rolledBack.stderr, /git push -f toolforge 'releases\/v1\^\{\}:refs\/heads\/main'/);

  const redeployed = await server.command('redeploy', 'hello');
  assert.equal(redeployed.exitCode, 0, redeployed.stderr);
  assert.equal((await server.get('hello')).body, 'two');
  const older = await tree.push('-f', 'toolforge', `${first}:main`);
  assert.equal(older.exitCode, 0, older.stderr);
  assert.doesNotMatch(older.stderr, /Using the earlier build/);
  assert.equal((await server.get('hello')).body, 'one');
});

test('after the setting sandbox changes from isolated to trusted, `config set` makes a new release of the earlier artifact, and the tool answers', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_SANDBOX: 'isolated' });
  const tree = await WorkTree.create(server, 'http', 'hello');
  await tree.commit('one', webTool('one'));
  assert.equal((await tree.push()).exitCode, 0);
  await server.kill('SIGTERM');
  server.change({ TOOLFORGE_PUSH_SANDBOX: 'trusted' });
  await server.boot();
  const set = await server.command('config', 'set', 'hello', 'GREETING=hi');
  assert.equal(set.exitCode, 0, set.stderr);
  assert.match(set.stdout, /v2 is live/);
  assert.equal((await server.get('hello')).body, 'one');
});

test('a push of a tool without a web process goes live, and its output names no address', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_SANDBOX: 'trusted' });
  const tree = await WorkTree.create(server, 'http', 'hello');
  await tree.commit('one', {
    ...webTool('one'),
    Procfile: 'worker: python3 -c "import time; time.sleep(1000)"\n',
    'app.json': '{"formation": {"worker": {"quantity": 1}}}',
  });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /v1 is live {2,}\(build/);
});
