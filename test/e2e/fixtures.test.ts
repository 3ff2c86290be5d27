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

/** Pushes a fixture as a tool of the same name. */
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
  { fixture: 'node-express', path: '/', expected: /Hello|Express/i },
  { fixture: 'static-site', path: '/', expected: /<h1>/ },
  { fixture: 'django-15', path: '/', expected: /./ },
]) {
  test(`${fixture} is deployed from the real registries and answers`, async () => {
    await deploy(fixture);
    const { status, body } = await server.get(fixture, path);
    assert.equal(status, 200, body);
    assert.match(body, expected);
  });
}

test('web-and-worker runs both of its processes, and their logs are apart', async () => {
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

test('a second build of the same requirements uses the first', async () => {
  const tree = await deploy('flask').catch(async () => WorkTree.create(server, 'ssh', 'flask'));
  await tree.git('fetch', '--quiet', 'toolforge');
  await tree.git('reset', '--quiet', '--hard', 'toolforge/main');
  await tree.commit('change', { 'NOTES.md': 'nothing\n' });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /[Rr]eus|already|[Uu]sing the/);
});
