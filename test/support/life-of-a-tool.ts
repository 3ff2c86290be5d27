import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { removeTree } from '../../src/core/disk/remove-tree.ts';
import { type Run, type TestServer, until } from './server.ts';
import { type Files, WorkTree, webTool } from './work-tree.ts';

/** A server whose tools run on this machine or in a cluster. */
export interface Place {
  readonly server: TestServer;
  /** Asks for the page of a tool. */
  get(tool: string, path?: string): Promise<{ status: number; body: string }>;
}

const passed = (run: Run) => assert.equal(run.exitCode, 0, run.stdout + run.stderr);
const failed = (run: Run, says: RegExp) => {
  assert.notEqual(run.exitCode, 0, run.stdout);
  assert.match(run.stderr, says);
};

/** A web tool that answers with `text`, and that ends with code 7 if somebody asks for `/crash`. */
function crashable(text: string): Files {
  const { 'server.py': script = '', ...files } = webTool(text);
  const crashing = script.replace('    body =', "    if path == '/crash': os._exit(7)\n    body =");
  return { ...files, 'server.py': crashing };
}

const asksFor = (...names: string[]) =>
  JSON.stringify({ env: Object.fromEntries(names.map((name) => [name, { description: `the ${name}` }])) });
const tests = (command: string) => JSON.stringify({ environments: { test: { scripts: { test: command } } } });

/** Runs a command by `ssh -t`, at a terminal. */
async function atTerminal(server: TestServer, words: string): Promise<{ readonly stdout: string }> {
  const [host = '', port = ''] = server.ssh.split(':');
  const line = `${server.clientEnvironment['GIT_SSH_COMMAND']} -t -p ${port} ${server.user}@${host} ${words}`;
  return await execa('script', ['-q', '-e', '-c', line, '/dev/null'], {
    env: server.clientEnvironment,
    extendEnv: false,
    reject: false,
  });
}

/**
 * The years of a tool: its first push with a config var missing, a dry run, a promotion from its beta, a preview,
 * pushes that fail in each phase, a crash after a release, a rollback, a folder without git, a schedule, a size, a
 * command beside a process, a limit, a freeze, and a backup that is restored after the data folder was lost. At the
 * end, the tool moves to the server `other`. After each failure, what was live must still answer.
 */
export async function liveForYears(place: Place, other: Place): Promise<void> {
  const { server } = place;
  const [tool, beta] = ['story', 'story-beta'];
  for (const name of [tool, beta]) await server.addTool(name);
  const tree = await WorkTree.create(server, 'ssh', beta);
  await tree.git('remote', 'add', 'live', server.remote('ssh', tool));
  const answers = async (text: string) =>
    await until(async () => (await place.get(tool)).body === text, `the page ${text}`);
  const list = async (...words: string[]) => JSON.parse((await server.command(...words, '--json')).stdout);

  // The first push.
  await tree.commit('one', { ...crashable('one'), 'app.json': asksFor('TOKEN') });
  failed(await tree.push(), /TOKEN/);
  assert.deepEqual(await list('releases', beta), []);
  passed(await server.command('config', 'set', beta, 'TOKEN=beta'));
  const tried = await tree.push('-o', 'dry-run', 'toolforge', 'main');
  passed(tried);
  assert.match(tried.stderr, /this push would pass up to its build/);
  assert.deepEqual(await list('releases', beta), []);
  passed(await tree.push());

  // First the beta, then the tool itself.
  failed(await server.command('promote', beta, tool), /TOKEN/);
  passed(await server.command('config', 'set', tool, 'TOKEN=live'));
  passed(await server.command('promote', beta, tool));
  await answers('one');

  // A preview beside the tool.
  const preview = 'try--story';
  await tree.commit('try', crashable('tried'));
  failed(await tree.push('live', 'HEAD:preview/try'), /TOKEN.*the preview try--story is not live yet/s);
  passed(await server.command('config', 'set', preview, 'TOKEN=tried'));
  passed(await tree.push('live', 'HEAD:preview/try'));
  const isTried = async () => (await place.get(preview)).body === 'tried';
  await until(isTried, 'the page of the preview');
  assert.equal((await place.get(tool)).body, 'one');
  passed(await server.command('restart', preview));
  assert.match((await server.command('ps', preview)).stdout, /web\.1 +v1 +up/);
  assert.match((await server.command('run', preview, 'printenv', 'TOKEN')).stdout, /tried/);
  assert.equal((await list('previews', tool)).length, 1);
  passed(await tree.push('live', ':preview/try'));
  assert.deepEqual(await list('previews', tool), []);
  assert.notEqual((await place.get(preview)).status, 200);
  assert.equal((await place.get(tool)).body, 'one');
  await tree.git('reset', '--hard', '--quiet', 'HEAD~');

  // Pushes that fail in their test, in their release command and at their start.
  const first = await tree.head();
  await tree.commit('tested', { 'app.json': tests('exit 3') });
  failed(await tree.push('live', 'main'), /test failed: .*; v1 is still live/);
  await tree.commit('release', {
    'app.json': '{}',
    Procfile: 'web: python3 server.py\nrelease: echo no table; exit 4\n',
  });
  failed(await tree.push('live', 'main'), /no table[\s\S]*v1 is still live/);
  await tree.commit('boot', { ...webTool('x'), 'server.py': 'raise SystemExit(5)\n' });
  failed(await tree.push('live', 'main'), /web\.1 exited with code 5; v1 is still live/);
  assert.equal((await place.get(tool)).body, 'one');
  assert.equal(await server.inRepository(tool, 'rev-parse', 'main'), first);

  // A release that crashes later, and a rollback.
  await tree.commit('two', {
    ...crashable('two'),
    'jobs.yaml': '- name: nightly\n  command: "echo the nightly job"\n  schedule: "@yearly"\n',
  });
  passed(await tree.push('live', 'main'));
  await answers('two');
  const live = (await list('releases', tool))[0].version as number;
  await place.get(tool, '/crash').catch(() => null);
  await until(async () => (await list('releases', tool))[0].crashes[0]?.count === 1, 'the crash is recorded');
  await answers('two');
  passed(await server.command('rollback', tool));
  await answers('one');
  passed(await server.command('rollback', tool, `v${live}`));
  await answers('two');

  // A deployment of a folder without git.
  const folder = join(server.folder, 'without-git');
  await mkdir(folder);
  for (const [path, text] of Object.entries(crashable('hacked'))) await writeFile(join(folder, path), text);
  passed(await server.local('deploy', tool, folder, '-m', 'Hack it'));
  await answers('hacked');
  assert.equal(await server.inRepository(tool, 'log', '-1', '--format=%s', 'main'), 'Hack it');
  passed(await server.command('rollback', tool));
  await answers('two');

  // Commands of every day.
  passed(await server.command('schedule', 'run', tool, 'nightly'));
  await until(
    async () => (await list('schedule', 'history', tool)).length === 1,
    'the nightly job has run',
    120_000,
  );
  // In a cluster, the lines of a pod may arrive after its end.
  const output = async () => (await server.command('schedule', 'output', tool, 'nightly')).stdout;
  await until(async () => (await output()).includes('the nightly job'), 'the output of the nightly job');
  passed(await server.command('schedule', 'pause', tool, 'nightly'));
  assert.match((await server.command('schedule', 'list', tool)).stdout, /nightly .* paused/);
  passed(await server.command('scale', tool, 'web=2:256Mi'));
  assert.partialDeepStrictEqual(await list('scale', tool), [{ running: 2, memoryBytes: 256 * 2 ** 20 }]);
  passed(await server.command('scale', tool, 'web=1'));
  assert.match((await server.command('run', tool, 'echo', 'in', 'v$RELEASE_VERSION')).stdout, /in v/);
  // In a cluster, Kubernetes chooses which of the two processes has ended.
  const processes = (await list('ps', tool)) as { process: string; state: string }[];
  const up =
    processes.find(({ process, state }) => process.startsWith('web.') && state === 'up')?.process ?? '';
  const beside = await server.command('exec', tool, up, 'cat', 'server.py');
  assert.match(beside.stdout, /two/, beside.stderr);
  assert.match((await atTerminal(server, `exec ${tool} ${up} tty`)).stdout, /\/dev\/pts\//);
  failed(await server.command('exec', tool, 'web.9', 'true'), /These processes run: web\./);
  assert.match((await server.command('logs', tool, '--grep', 'nightly')).stdout, /the nightly job/);

  // Commands of the operator.
  passed(await server.local('limit', tool, 'builds=1'));
  await tree.commit('three', crashable('three'));
  failed(await tree.push('live', 'main'), /builds/);
  passed(await server.local('limit', tool, 'builds=default'));
  passed(await server.local('freeze', tool, 'the database moves'));
  failed(await tree.push('live', 'main'), /frozen: the database moves/);
  passed(await server.local('unfreeze', tool));
  await answers('two');

  // A restore after the machine was lost.
  const backup = join(server.folder, 'backup.tar');
  passed(await server.command('maintenance', 'on', tool));
  const isInMaintenance = async () => {
    const { status, body } = await place.get(tool);
    return status === 503 && body.includes('is in maintenance');
  };
  assert.ok(await isInMaintenance());
  passed(await server.local('backup', backup));
  passed(await server.command('maintenance', 'off', tool));
  passed(await tree.push('live', 'main'));
  await answers('three');
  await server.kill('SIGTERM');
  await removeTree(join(server.folder, 'data'));
  await removeTree(join(server.folder, 'keys'));
  passed(await server.local('restore', backup));
  await server.boot();
  await until(isInMaintenance, 'the page about maintenance, as at the time of the backup');
  passed(await server.command('maintenance', 'off', tool));
  await answers('two');
  assert.equal((await list('releases', tool)).length > 2, true);
  assert.match((await server.command('config', 'get', tool, 'TOKEN')).stdout, /live/);
  passed(await tree.push('live', 'main'));
  await answers('three');

  // The move to another server.
  const [exported, passphrase] = [join(server.folder, 'story.tar'), join(server.folder, 'passphrase')];
  await writeFile(passphrase, 'a passphrase for a journey\n', { mode: 0o600 });
  passed(await server.local('tool', 'export', tool, exported, '--passphrase-file', passphrase));
  failed(
    await other.server.local('tool', 'import', exported, '--passphrase-file', passphrase),
    /no tool story/,
  );
  await other.server.addTool(tool);
  passed(await other.server.local('tool', 'import', exported, '--passphrase-file', passphrase));
  await until(async () => (await other.get(tool)).body === 'three', 'the page on the other server');
  assert.equal(
    await other.server.inRepository(tool, 'rev-parse', 'main'),
    await server.inRepository(tool, 'rev-parse', 'main'),
  );
  assert.match((await other.server.command('config', 'get', tool, 'TOKEN')).stdout, /live/);
  assert.match((await other.server.command('releases', tool)).stdout, /Hack it|Deploy/);
}
