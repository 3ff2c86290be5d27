import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';

import { type Run, TestServer, until } from '../support/server.ts';
import { type Files, liveTool, WorkTree, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_PROCESS_TYPES: '3' });
});
after(async () => server[Symbol.asyncDispose]());

/** The files of a tool. Its Procfile has lines that must not run only because somebody pushed. */
const tool = (text: string): Files => ({
  ...webTool(text),
  Procfile: [
    'web: python3 server.py',
    'worker: python3 -c "import time; time.sleep(1000)"',
    'migrate: echo migrated',
    'reset-database: echo everything is gone; exit 1',
    '',
  ].join('\n'),
});

async function upIn(name: string): Promise<string[]> {
  const { stdout } = await server.command('ps', name, '--json');
  const all = JSON.parse(stdout) as { process: string; state: string }[];
  return all.filter(({ state }) => state === 'up').map(({ process }) => process);
}

function succeeded(run: Run): string {
  assert.equal(run.exitCode, 0, run.stderr);
  return run.stdout + run.stderr;
}

describe('process types that do not start by themselves', () => {
  test('after a push only web runs; the push lists the other process types; `run` starts one of them once, and `scale` keeps one running', async () => {
    await server.addTool('named');
    const tree = await WorkTree.create(server, 'ssh', 'named');
    await tree.commit('one', tool('one'));
    const pushed = succeeded(await tree.push());
    assert.match(
      pushed,
      /remote: {8}commands, which do not start by themselves: migrate, reset-database, worker +$/m,
    );
    assert.match(pushed, /to run one: `run named migrate`; to keep one running: `scale named worker=1`; /);
    assert.deepEqual(await upIn('named'), ['web.1']);
    assert.equal((await server.command('run', 'named', 'migrate')).stdout, 'migrated');
    const listed = await server.command('scale', 'named');
    assert.match(listed.stdout, /^web +1 +1 .*\nworker +0 +0 /m);
    assert.match(succeeded(await server.command('scale', 'named', 'worker=1')), /worker 0 → 1/);
    await tree.commit('two', tool('two'));
    assert.doesNotMatch(succeeded(await tree.push()), /which do not start by themselves: .*worker/);
    assert.deepEqual(await upIn('named'), ['web.1', 'worker.1']);
    succeeded(await server.command('scale', 'named', 'worker=0'));
    await until(async () => (await upIn('named')).length === 1, 'the end of the worker');
  });

  test('a tool that has no web process and keeps no other process running goes live as a set of commands and schedules', async () => {
    const { name, tree } = await liveTool(server, 'set', webTool('one'));
    await tree.commit('two', {
      Procfile: 'migrate: echo migrated\nupdate: python3 -c "print(1)"\n',
      'toolforge.yaml':
        'components:\n  nightly:\n    component_type: scheduled\n    run: {command: update, schedule: "@daily"}\n',
    });
    const pushed = succeeded(await tree.push());
    assert.match(pushed, /commands, which do not start by themselves: migrate +$/m);
    assert.match(
      pushed,
      /=====> v2 is live as a set of commands and schedules; it keeps nothing running {5}\(build/,
    );
    assert.equal((await server.get(name)).status, 404);
    assert.equal((await server.command('run', name, 'update')).stdout, '1');
    await tree.commit('three', { 'toolforge.yaml': 'components: {}\n' });
    assert.match(succeeded(await tree.push()), /v3 is live as a set of commands; it keeps nothing running/);
    assert.match((await server.command('tools')).stdout, /^set +v3 +commands /m);
    const ps = await server.command('ps', name);
    assert.match(
      ps.stdout,
      /^v3 of set keeps no process running\. Run a command with: ssh \S.* run set migrate$/m,
    );
  });

  test('the numbers of processes in `formation` of app.json run, but a number that the command `scale` has set wins', async () => {
    const formation = { worker: { quantity: 2, size: 'standard-1x' }, workr: {} };
    const { name, tree } = await liveTool(server, 'formation', tool('one'));
    await tree.commit('two', { 'app.json': JSON.stringify({ formation }, null, 2) });
    const pushed = succeeded(await tree.push());
    assert.match(pushed, /! {5}app\.json: size of formation has no effect here\./);
    assert.match(
      pushed,
      /! {5}formation in app\.json: workr is not used, because the build has no process type of this name/,
    );
    assert.deepEqual(await upIn(name), ['web.1', 'worker.1', 'worker.2']);
    succeeded(await server.command('scale', name, 'worker=1'));
    await until(async () => (await upIn(name)).length === 2, 'the end of worker.2');
    succeeded(await server.command('restart', name));
    assert.deepEqual(await upIn(name), ['web.1', 'worker.1']);
    await tree.commit('three', { 'app.json': '{"formation": {\n  "worker": {"quantity": "two"}}}' });
    const refused = await tree.push();
    assert.notEqual(refused.exitCode, 0);
    assert.match(
      refused.stderr,
      /formation in app\.json gives no number of processes for worker \(line 2\); v2 is still live/,
    );
  });

  test('the command `scale` is refused if more process types would run than the setting process_types allows', async () => {
    const { name } = await liveTool(server, 'many', tool('one'));
    const refused = await server.command('scale', name, 'worker=1', 'migrate=1', 'reset-database=1');
    assert.equal(refused.exitCode, 1);
    assert.match(
      refused.stderr,
      /4 process types would run, but at most 3 of one tool may run \(process_types\)/,
    );
    assert.deepEqual(await upIn(name), ['web.1']);
  });

  test('if an earlier version of the server started a worker together with web, the worker keeps running after a redeploy, a push and a rollback, until the command `scale` ends it', async () => {
    const { name, tree } = await liveTool(server, 'existing', tool('one'));
    await server.kill('SIGTERM');
    makeEarlier(join(server.folder, 'data/store.sqlite'), 'worker');
    await server.boot();
    const both = async () => (await upIn(name)).join(' ') === 'web.1 worker.1';
    await until(both, 'web and worker run');
    assert.match(
      succeeded(await server.command('redeploy', name)),
      /worker goes on running, as before; to end it: `scale existing worker=0`/,
    );
    assert.ok(await both());
    await tree.git('fetch', 'toolforge');
    await tree.commit('two', tool('two'));
    assert.doesNotMatch(succeeded(await tree.push()), /goes on running/);
    assert.ok(await both());
    succeeded(await server.command('rollback', name, 'v1'));
    assert.ok(await both());
    succeeded(await server.command('scale', name, 'worker=0'));
    await tree.git('fetch', 'toolforge');
    await tree.commit('three', tool('three'));
    succeeded(await tree.push('-f', 'toolforge', 'main'));
    assert.deepEqual(await upIn(name), ['web.1']);
  });
});

/** Makes the records of the tool `existing` those of an earlier server version, which started `type` with web. */
function makeEarlier(store: string, type: string): void {
  const database = new DatabaseSync(store);
  for (const table of ['releases', 'builds']) {
    for (const row of database
      .prepare(`SELECT sequence, artifact FROM ${table} WHERE tool = 'existing'`)
      .all()) {
      const artifact = JSON.parse(String(row['artifact']));
      const processes = artifact.processes
        .filter((process: { type: string }) => ['web', type].includes(process.type))
        .map(({ replicas: _, ...process }: { replicas?: number }) => process);
      database
        .prepare(`UPDATE ${table} SET artifact = ? WHERE sequence = ?`)
        .run(JSON.stringify({ ...artifact, processes }), row['sequence'] ?? 0);
    }
  }
  database.close();
}
