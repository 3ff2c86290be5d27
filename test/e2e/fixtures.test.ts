import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { TestServer, until } from '../support/server.ts';
import { WorkTree } from '../support/work-tree.ts';

const fixtures = resolve(import.meta.dirname, '../fixtures');

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

/** Pushes a fixture as a tool with the same name. */
async function deploy(fixture: string, door: 'ssh' | 'http' = 'ssh'): Promise<WorkTree> {
  await server.addTool(fixture);
  const tree = await WorkTree.create(server, door, fixture);
  await cp(resolve(fixtures, fixture), tree.folder, { recursive: true });
  await tree.commit(fixture, {});
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  return tree;
}

for (const { fixture, path, expected } of [
  { fixture: 'flask', path: '/', expected: /Hello|Flask/i },
  {
    fixture: 'flask-apt',
    path: '/',
    expected: /tesseract: made by convert\nrsvg-convert and tesseract: drawn by rsvg\n/,
  },
  { fixture: 'seed-example', path: '/', expected: /^Hello from uWSGI at \/$/m },
  { fixture: 'node-express', path: '/', expected: /Hello|Express/i },
  { fixture: 'static-site', path: '/', expected: /<h1>/ },
  { fixture: 'django-15', path: '/', expected: /./ },
]) {
  test(`the sample tool ${fixture} is built, with the packages that it needs from the real registries, and answers`, async () => {
    await deploy(fixture);
    const { status, body } = await server.get(fixture, path);
    assert.equal(status, 200, body);
    assert.match(body, expected);
  });
}

test('the sample tool web-and-worker runs the worker that app.json asks for, with a log of its own', async () => {
  await deploy('web-and-worker', 'http');
  const rows = JSON.parse((await server.command('ps', 'web-and-worker', '--json')).stdout) as {
    process: string;
    state: string;
  }[];
  assert.deepEqual(rows.map(({ process, state }) => `${process} ${state}`).sort(), [
    'web.1 up',
    'worker.1 up',
  ]);
  assert.equal((await server.get('web-and-worker')).status, 200);
  await until(
    async () => (await server.command('logs', 'web-and-worker', '-p', 'worker')).stdout.includes('worker.1'),
    'a line of the worker',
  );
});

test('the sample tool commands-and-schedules is live without a process, and its commands run by name', async () => {
  await deploy('commands-and-schedules');
  const name = 'commands-and-schedules';
  const { stdout } = await server.command('ps', name, '--json');
  assert.deepEqual(
    (JSON.parse(stdout) as { process: string; state: string }[]).map(({ process, state }) => [
      process,
      state,
    ]),
    [['nightly.1', 'scheduled']],
  );
  assert.equal((await server.command('run', name, 'update-statistics')).stdout, 'statistics updated');
  assert.equal((await server.command('scale', name)).stdout.match(/ 0 +0 /gm)?.length, 2);
});

test('a second build with the same requirements.txt reuses the installed packages', async () => {
  const tree = await deploy('flask').catch(async () => WorkTree.create(server, 'ssh', 'flask'));
  await tree.git('fetch', '--quiet', 'toolforge');
  await tree.git('reset', '--quiet', '--hard', 'toolforge/main');
  await tree.commit('change', { 'NOTES.md': 'nothing\n' });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /[Rr]eus|already|[Uu]sing the/);
});

test('if uWSGI cannot load a tool’s Python module, the push is rejected with the Python error, and the live release stays', async () => {
  const tree = await deploy('seed-example').catch(async () => WorkTree.create(server, 'ssh', 'seed-example'));
  await tree.git('fetch', '--quiet', 'toolforge');
  await tree.git('reset', '--quiet', '--hard', 'toolforge/main');
  await tree.commit('broken', { 'www/python/src/app.py': 'from flask import no_such_name\napp = None\n' });
  const pushed = await tree.push();
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, /cannot import name 'no_such_name'/);
  assert.match(
    pushed.stderr,
    /rollout failed: web\.1 exited with code 22: ImportError: cannot import name 'no_such_name'.*; v\d+ is still live/,
  );
  assert.match((await server.get('seed-example')).body, /^Hello from uWSGI/);
});

test('a uWSGI that requirements.txt names runs with the tool’s uwsgi.ini, and ends cleanly when the tool is stopped', async () => {
  const tree = await deploy('seed-example').catch(async () => WorkTree.create(server, 'ssh', 'seed-example'));
  await tree.git('fetch', '--quiet', 'toolforge');
  await tree.git('reset', '--quiet', '--hard', 'toolforge/main');
  await tree.commit('its own', {
    'requirements.txt': 'Flask==3.1.3\npyuwsgi==2.0.29\n',
    'www/python/uwsgi.ini': '[uwsgi]\nthreads = 3\n',
  });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /Using the uWSGI 2\.0\.29 of the requirements/);
  assert.match((await server.get('seed-example')).body, /^Hello from uWSGI/);
  const logs = async () => (await server.command('logs', 'seed-example', '-p', 'web')).stdout;
  assert.match(await logs(), /spawned uWSGI worker 4 \(pid: \d+, cores: 3\)/);
  await server.command('stop', 'seed-example');
  assert.match(await logs(), /goodbye to uWSGI\.\s*$/);
});

test('a push with an unchanged Aptfile reuses the Debian packages of the earlier build', async () => {
  const tree = await deploy('flask-apt').catch(async () => WorkTree.create(server, 'ssh', 'flask-apt'));
  await tree.git('fetch', '--quiet', 'toolforge');
  await tree.git('reset', '--quiet', '--hard', 'toolforge/main');
  await tree.commit('change', { 'NOTES.md': 'nothing\n' });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /Reusing Debian packages: imagemagick/);
  assert.match((await server.get('flask-apt')).body, /drawn by rsvg/);
});
