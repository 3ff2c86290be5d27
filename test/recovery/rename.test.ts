import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { execa } from 'execa';
import type { ToolName } from '../../src/core/names.ts';
import { loadOrMakeSecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { type Run, TestServer, until } from '../support/server.ts';
import { liveTool, WorkTree, webTool } from '../support/work-tree.ts';

let server: TestServer;
let outside: string;
before(async () => {
  outside = await mkdtemp(join(tmpdir(), 'outside-'));
  server = await TestServer.start({ TOOLFORGE_PUSH_CONFIG_VARS_FOLDER: outside });
});
after(async () => {
  await server[Symbol.asyncDispose]();
  await rm(outside, { recursive: true });
});

const passed = (run: Run) => assert.equal(run.exitCode, 0, run.stdout + run.stderr);
const data = (...path: string[]) => join(server.folder, 'data', ...path);

/** Checks that a tool of `twoReleases` works under its new name, and that nothing is left under the old name. */
async function worksAs(name: string, old: string, first: string): Promise<void> {
  await until(async () => (await server.get(name)).body === 'two', `the page of ${name}`);
  assert.match((await server.command('config', 'get', name, 'SECRET')).stdout, /s3cret/);
  const releases = JSON.parse((await server.command('releases', name, '--json')).stdout);
  assert.deepEqual(
    releases.map(({ version, configVars }: Record<string, unknown>) => [version, configVars]),
    [
      [3, ['SECRET']],
      [2, ['SECRET']],
      [1, []],
    ],
  );
  assert.match((await server.command('config', 'history', name)).stdout, /SECRET/);
  for (const folder of ['artifacts', 'cache', 'deployments', 'logs', 'releases', 'repositories'])
    assert.equal(
      (await readdir(data(folder))).some((entry) => entry.replace('.git', '') === old),
      false,
      folder,
    );
  assert.equal(await server.inRepository(name, 'rev-parse', 'refs/tags/v1.0'), first);
  passed(await server.command('rollback', name, 'v1'));
  await until(async () => (await server.get(name)).body === 'one', 'the rollback');
  passed(await server.command('rollback', name, 'v3'));
  assert.equal(existsSync(data('renaming.json')), false);
}

async function twoReleases(name: string): Promise<{ tree: WorkTree; first: string }> {
  const { tree, first } = await liveTool(server, name, webTool('one'));
  await tree.git('tag', 'v1.0');
  passed(await tree.git('push', '--quiet', 'toolforge', 'v1.0'));
  passed(await server.command('config', 'set', name, 'SECRET=s3cret'));
  await tree.commit('two', webTool('two'));
  passed(await tree.push());
  return { tree, first };
}

test('a renamed tool keeps its releases, config vars, tags and tokens; its old git remote and old web address name the new name', async () => {
  const { tree, first } = await twoReleases('older');
  const token = await server.command('token', 'create', 'older', 'ci');
  passed(token);
  const secret = /tfp_\S+/.exec(token.stdout)?.[0] ?? '';
  passed(await server.command('maintenance', 'on', 'older'));
  const renamed = await server.local('tool', 'rename', 'older', 'newer');
  passed(renamed);
  assert.match((await server.get('newer')).body, /newer is in maintenance/);
  passed(await server.command('maintenance', 'off', 'newer'));
  assert.match(renamed.stdout, /older is now called newer, and answers at http:\/\/newer\./);
  await worksAs('newer', 'older', first);

  await tree.commit('three', webTool('three'));
  const refused = await tree.push();
  assert.notEqual(refused.exitCode, 0);
  assert.match(refused.stderr, /tool older is now called newer[\s\S]*git remote set-url toolforge/);
  const [host = '', port = ''] = server.http.split(':');
  const overHttp = await tree.git(
    'ls-remote',
    `http://${server.user}:${server.password}@${host}:${port}/older.git`,
  );
  assert.match(overHttp.stderr, /is now called newer/);
  const page = await server.get('older');
  assert.equal(page.status, 404);
  assert.match(page.body, /older is now called newer[\s\S]*http:\/\/newer\./);

  await tree.git(
    'remote',
    'set-url',
    'toolforge',
    `http://${server.user}:${secret}@${host}:${port}/newer.git`,
  );
  passed(await tree.push());
  assert.equal((await server.get('newer')).body, 'three');
  await server.kill();
  assert.match((await server.local('doctor')).stdout, /is whole/);
  await server.boot();
  await until(async () => (await server.get('newer')).body === 'three', 'up again');
  // Back again, and both earlier names lead to the present one.
  passed(await server.local('tool', 'rename', 'newer', 'newest'));
  assert.match((await server.get('older')).body, /older is now called newest/);
  passed(await server.local('tool', 'rename', 'newest', 'older'));
  await until(async () => (await server.get('older')).body === 'three', 'back again');
  assert.match((await server.get('newer')).body, /newer is now called older/);
});

test('after a kill of the server during the rename of a tool, the next start of the server finishes the rename, or the tool keeps its old name', async () => {
  const { first } = await twoReleases('killed');
  await server.kill();
  const journal = JSON.stringify({ from: 'killed', to: 'finished' });
  await writeFile(data('renaming.json'), journal);
  await server.boot();
  await until(async () => (await server.get('killed')).body === 'two', 'the old name');
  assert.equal(existsSync(data('renaming.json')), false);
  await server.kill();

  await writeFile(data('renaming.json'), journal);
  const store = new SqliteStore(data(), loadOrMakeSecretsKey(join(server.folder, 'keys')));
  store.renameTool('killed' as ToolName, 'finished' as ToolName, Date.now());
  assert.throws(() => store.setStopped('killed' as ToolName, true), { code: 'TOOL_RENAMED' });
  store.close();
  await rename(data('artifacts/killed'), data('artifacts/finished'));
  // Stands for files that a process wrote under the old name after the folders had moved.
  await mkdir(data('artifacts/killed'));
  await writeFile(data('artifacts/killed/left'), 'of the old tool');
  await server.boot();
  assert.equal(existsSync(data('artifacts/killed')), false);
  await worksAs('finished', 'killed', first);
  assert.match(await readFile(data('directory.yaml'), 'utf8'), /finished:/);
  assert.match((await server.local('tool', 'list')).stdout, /finished/);
  const tree = await WorkTree.create(server, 'ssh', 'finished');
  passed(await tree.git('pull', '--quiet', 'toolforge', 'main'));
});

test('threat 100: no command can store anything under the old name of a renamed tool, and a new tool with this name begins empty', async () => {
  const { tree } = await liveTool(server, 'raced', webTool('raced'));
  // The command is authorized under the old name, and its input arrives after the rename.
  const [host = '', port = ''] = server.ssh.split(':');
  const ssh = (server.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ').slice(1);
  const slow = execa(
    'ssh',
    [...ssh, '-p', port, `${server.user}@${host}`, 'config import raced - --no-restart'],
    {
      env: server.clientEnvironment,
      reject: false,
    },
  );
  await setTimeout(2000);
  passed(await server.local('tool', 'rename', 'raced', 'raced-on'));
  slow.stdin.end('SECRET=of-raced-on\n');
  const { exitCode, stderr } = await slow;
  assert.equal(exitCode, 1);
  assert.match(stderr, /the tool raced is now called raced-on/i);
  assert.match((await tree.git('push', 'toolforge', 'HEAD:refs/tags/late')).stderr, /now called raced-on/);
  for (const folder of ['logs', 'repositories'])
    assert.equal(
      (await readdir(data(folder))).some((entry) => entry.replace('.git', '') === 'raced'),
      false,
    );

  await server.addTool('raced');
  assert.doesNotMatch((await server.command('config', 'list', 'raced', '--show-values')).stdout, /SECRET/);
  assert.doesNotMatch((await server.command('config', 'history', 'raced')).stdout, /SECRET/);
  passed(await server.command('config', 'set', 'raced', 'OWN=yes'));
  assert.match((await server.command('config', 'list', 'raced', '--show-values')).stdout, /OWN\W+yes/);
  assert.doesNotMatch((await server.get('raced')).body, /now called/);
});

test('renaming a tool to a taken or invalid name, or during a deployment, is refused, and the tool works as before', async () => {
  const { tree } = await liveTool(server, 'busy', webTool('busy'));
  await server.addTool('taken');
  for (const [to, says] of [
    ['taken', /there is a tool taken in directory.yaml already/i],
    ['busy', /the tool is called busy already/i],
    ['no..name', /cannot be the name of a tool/],
  ] as const)
    assert.match((await server.local('tool', 'rename', 'busy', to)).stderr, says);
  assert.match(
    (await server.local('tool', 'rename', 'unheard-of', 'x')).stderr,
    /there is no tool unheard-of/i,
  );
  await writeFile(join(outside, 'busy.env'), 'TOKEN=outside\n', { mode: 0o600 });
  assert.match(
    (await server.local('tool', 'rename', 'busy', 'idle')).stderr,
    /has busy\.env, but no idle\.env, so the tool would start without it/,
  );
  await writeFile(join(outside, 'idle.env'), 'TOKEN=outside\n', { mode: 0o644 });
  assert.match((await server.local('tool', 'rename', 'busy', 'idle')).stderr, /idle\.env/);
  for (const name of ['busy.env', 'idle.env']) await rm(join(outside, name));
  await writeFile(data('renaming.json'), JSON.stringify({ from: 'a', to: 'b' }));
  assert.match(
    (await server.local('tool', 'rename', 'busy', 'idle')).stderr,
    /an earlier renaming could not be finished/i,
  );
  await rm(data('renaming.json'));
  passed(await server.local('tool', 'remove', 'taken'));
  await tree.commit('slow', webTool('slow', 'sleep 90'));
  const pushing = tree.push();
  await until(async () => (await server.command('ps', 'busy')).stdout.includes('is building'), 'a build');
  assert.match(
    (await server.local('tool', 'rename', 'busy', 'idle')).stderr,
    /a deployment or a push of the tool busy is under way/i,
  );
  passed(await server.command('cancel', 'busy'));
  await pushing;
  assert.equal((await server.get('busy')).body, 'busy');
});

test('after a rename, a new tool with the old name begins with an empty repository, as the command `quota` shows', async () => {
  const { tree } = await liveTool(server, 'sized', {
    ...webTool('sized'),
    'data.txt': randomBytes(1_500_000).toString('base64'),
  });
  const used = async (name: string) => {
    const rows: { name: string; used: number }[] = JSON.parse(
      (await server.command('quota', name, '--json')).stdout,
    );
    return rows.find((row) => row.name === 'repository')?.used ?? -1;
  };
  assert.ok((await used('sized')) > 1_000_000);
  passed(await server.local('tool', 'rename', 'sized', 'sized-two'));
  await server.addTool('sized');
  passed(await tree.git('ls-remote', 'toolforge'));
  assert.ok((await used('sized')) < 100_000);
  assert.ok((await used('sized-two')) > 1_000_000);
});
