import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { run, TestServer, until } from '../../support/server.ts';
import { liveTool, type WorkTree, webTool } from '../../support/work-tree.ts';

interface ReleaseRow {
  readonly version: number;
  readonly commit: string;
  readonly state: string;
}

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '4' });
});
after(async () => server[Symbol.asyncDispose]());

let serial = 0;
function newTool() {
  serial += 1;
  return liveTool(server, `crash-${serial}`);
}

const main = (name: string) =>
  server.inRepository(name, 'rev-parse', '--verify', '--quiet', 'refs/heads/main');

async function state(name: string, wanted: string): Promise<void> {
  await until(
    async () => (await server.command('deployments', name, '--json')).stdout.includes(`"${wanted}"`),
    wanted,
  );
}

/** The commands of all pasta, bwrap and git processes that have this server's data folder in their arguments. */
async function processes(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const commands = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return commands.filter(
    (command) => command.includes(`${server.folder}/data/`) && /pasta|bwrap|git/.test(command),
  );
}

/**
 * Asserts after a restart that the tool answers with `text`, that main names the live commit, and that the killed
 * server left no lock, no part of a pack or archive and no artifact of an unfinished build.
 */
async function assertWhole(name: string, text: string): Promise<void> {
  await until(async () => (await server.get(name)).body === text, `${name} serves ${text}`);
  const releases = JSON.parse((await server.command('releases', name, '--json')).stdout) as ReleaseRow[];
  const live = releases.filter((release) => release.state === 'live');
  assert.equal(live.length, 1);
  assert.equal(await main(name), live[0]?.commit);
  const deployments = JSON.parse((await server.command('deployments', name, '--json')).stdout) as {
    state: string;
  }[];
  assert.ok(
    deployments.every(({ state: at }) => ['live', 'failed', 'interrupted', 'superseded'].includes(at)),
    JSON.stringify(deployments),
  );
  const repository = join(server.folder, 'data/repositories', `${name}.git`);
  const files = await readdir(repository, { recursive: true });
  assert.deepEqual(
    files.filter((file) => /\.lock$|tmp_objdir|checkout-/.test(file)),
    [],
  );
  const artifacts = await readdir(join(server.folder, 'data/artifacts', name));
  const built = JSON.parse((await server.command('builds', name, '--json')).stdout) as {
    id: string;
    state: string;
  }[];
  const succeeded = built.filter((build) => build.state === 'BUILD_SUCCESS').map(({ id }) => id);
  assert.ok(
    artifacts.every((id) => succeeded.includes(id)),
    `${artifacts} of ${succeeded}`,
  );
}

/** Asserts that a push goes live after the restart of the server. */
async function assertDeploys(name: string, tree: WorkTree): Promise<void> {
  const commit = await tree.commit('after', webTool('after'));
  const pushed = await tree.push('-f', 'toolforge', 'main');
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal(await main(name), commit);
  assert.equal((await server.get(name)).body, 'after');
}

async function crash(): Promise<void> {
  await server.kill('SIGKILL');
  await server.boot();
}

test('threat 82: if the server is killed while a pack arrives, the push fails, the old release stays live, and a later push goes live', async () => {
  const { name, tree } = await newTool();
  await writeFile(
    join(tree.folder, 'large'),
    Buffer.from(Array.from({ length: 30_000_000 }, () => Math.floor(Math.random() * 256))),
  );
  await tree.commit('large', {});
  const pushing = tree.push();
  await until(
    async () =>
      (await readdir(join(server.folder, 'data/repositories', `${name}.git/objects`))).some((entry) =>
        entry.startsWith('tmp_objdir'),
      ),
    'receiving',
  );
  await crash();
  assert.notEqual((await pushing).exitCode, 0);
  await assertWhole(name, 'one');
  await assertDeploys(name, tree);
});

test('threat 82: if the server is killed while an archive arrives, the next start leaves no part of the archive, and the old release stays live', async () => {
  const { name } = await newTool();
  const [host = '', port = ''] = server.ssh.split(':');
  const options = (server.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ').slice(1);
  const sending = execa('ssh', [...options, '-p', port, `${server.user}@${host}`, `deploy ${name}`], {
    env: server.clientEnvironment,
    extendEnv: false,
    reject: false,
  });
  // Less than the header of a file (512 bytes), so the server waits for more.
  sending.stdin.write(Buffer.alloc(300, 'a file'));
  const repository = join(server.folder, 'data/repositories', `${name}.git`);
  await until(
    async () => (await readdir(repository)).some((entry) => entry.startsWith('checkout-')),
    'receiving',
  );
  await crash();
  assert.notEqual((await sending).exitCode, 0);
  await assertWhole(name, 'one');
});

test('threat 82: if the server is killed while one deployment builds and another waits, both fail, and the old release stays live', async () => {
  const { name, tree } = await newTool();
  await tree.commit('slow', webTool('slow', 'sleep 30'));
  const building = tree.push();
  await state(name, 'building');
  await tree.commit('waits', webTool('waits'));
  const waiting = tree.push();
  await state(name, 'waiting');
  await crash();
  assert.notEqual((await building).exitCode, 0);
  assert.notEqual((await waiting).exitCode, 0);
  await assertWhole(name, 'one');
  assert.equal((await processes()).filter((command) => command.includes('build.sh')).length, 0);
  await assertDeploys(name, tree);
});

test('threat 82: if the server is killed before the new release is healthy, the old release stays live', async () => {
  const { name, tree } = await newTool();
  const files = webTool('two');
  await tree.commit('two', { ...files, 'server.py': `import time\ntime.sleep(20)\n${files['server.py']}` });
  const pushing = tree.push();
  await state(name, 'rolling-out');
  await crash();
  assert.notEqual((await pushing).exitCode, 0);
  await assertWhole(name, 'one');
  await assertDeploys(name, tree);
});

test('threat 82: if the server is killed after it recorded a release as live and before it moved main, the next start moves main', async () => {
  const { name, tree, first } = await newTool();
  const two = await tree.commit('two', webTool('two'));
  assert.equal((await tree.push()).exitCode, 0);
  await server.kill('SIGKILL');
  // Between the two steps, v2 is live in the store, but main still names v1 and is locked.
  await server.inRepository(name, 'update-ref', 'refs/heads/main', first);
  await server.inRepository(name, 'update-ref', '-d', 'refs/releases/v2');
  const repository = join(server.folder, 'data/repositories', `${name}.git`);
  await writeFile(join(repository, 'refs/heads/main.lock'), `${two}\n`);
  await server.boot();
  await assertWhole(name, 'two');
  assert.equal(await main(name), two);
  assert.equal(await server.inRepository(name, 'rev-parse', 'refs/releases/v2'), two);
  await assertDeploys(name, tree);
});

test('promise 1: if the server is killed right after a push succeeded, the new release is live after the restart', async () => {
  const { name, tree } = await newTool();
  const two = await tree.commit('two', webTool('two'));
  assert.equal((await tree.push()).exitCode, 0);
  await crash();
  await assertWhole(name, 'two');
  assert.equal(await main(name), two);
});

test('promise 1: if the server is killed at any of seven moments of a push, git reports success only if the pushed commit is live after the restart', async () => {
  const { name, tree, first } = await newTool();
  let live = { commit: first, text: 'one' };
  for (const [index, delayMs] of [150, 400, 700, 1000, 1300, 1700, 2200].entries()) {
    const text = `kill ${index}`;
    const commit = await tree.commit(text, webTool(text));
    const pushing = tree.push('-f', 'toolforge', 'main');
    await new Promise((resolve) => {
      setTimeout(resolve, delayMs);
    });
    await crash();
    const { exitCode } = await pushing;
    const at = await main(name);
    if (exitCode === 0) assert.equal(at, commit);
    assert.ok(at === commit || at === live.commit);
    if (at === commit) live = { commit, text };
    await assertWhole(name, live.text);
  }
  await assertDeploys(name, tree);
});

test('threat 61: after the restart of a killed server, each live tool runs once, and no git process of a push or fetch is left', async () => {
  await crash();
  const tools = (await readdir(join(server.folder, 'data/repositories'))).length;
  await until(
    async () => (await processes()).filter((command) => command.startsWith('pasta')).length === tools,
    'one process for each live tool',
  );
  assert.equal((await processes()).filter((command) => /receive-pack|upload-pack/.test(command)).length, 0);
});

test('threat 61: if a git process hangs when the server is killed, the next start of the server ends this process', async () => {
  const { name, tree } = await newTool();
  await tree.commit('slow', webTool('slow', 'sleep 30'));
  const pushing = tree.push();
  await state(name, 'building');
  const { stdout } = await run('pgrep', ['-f', `git.receive-pack .*/${name}.git$`]);
  assert.match(stdout, /^\d+$/);
  process.kill(Number(stdout), 'SIGSTOP');
  await crash();
  const status = await readFile(`/proc/${stdout}/status`, 'utf8').catch(() => 'State: gone');
  assert.match(status, /^State:\s+(gone|Z)/m);
  assert.notEqual((await pushing).exitCode, 0);
  await assertDeploys(name, tree);
});
