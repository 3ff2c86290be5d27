import assert from 'node:assert/strict';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { KilledUpdateRef, MOMENTS } from '../../support/programs/killed-update-ref.ts';
import { run, TestServer, until } from '../../support/server.ts';
import { liveTool, type WorkTree, webTool } from '../../support/work-tree.ts';

let folder: string;
let git: KilledUpdateRef;
let server: TestServer;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'killed-'));
  const { stdout } = await run('sh', ['-c', 'command -v git']);
  git = await KilledUpdateRef.make(folder, stdout);
  server = await TestServer.start({ PATH: `${folder}:${process.env['PATH']}` });
});
after(async () => {
  await server[Symbol.asyncDispose]();
  await removeTree(folder);
});

const ref = (tool: string, name: string) =>
  server.inRepository(tool, 'rev-parse', '--verify', '--quiet', name);

async function locks(tool: string): Promise<string[]> {
  const files = await readdir(join(server.folder, 'data/repositories', `${tool}.git`), { recursive: true });
  return files.filter((file) => /\.lock$|packed-refs\.new$/.test(file));
}

async function assertPushes(tool: string, tree: WorkTree, text: string) {
  const commit = await tree.commit(text, webTool(text));
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal(await ref(tool, 'refs/heads/main'), commit);
  assert.equal((await server.get(tool)).body, text);
}

for (const [index, moment] of MOMENTS.entries()) {
  test(`threat 82: if \`git update-ref\` is killed once, at the moment “${moment}”, the push goes live, and main names the live commit`, async () => {
    const { name, tree } = await liveTool(server, `killed-${index}`);
    await git.kill(moment, 1);
    await assertPushes(name, tree, 'two');
    assert.equal(await git.stop(), 0, 'nothing was killed');
    assert.equal(await ref(name, 'refs/releases/v2'), await tree.head());
    await until(async () => (await locks(name)).length === 0, 'no lock is left');
    await assertPushes(name, tree, 'three');
  });
}

test('threat 82: if each `git update-ref` is killed as it commits, the push is rejected although its release is live; when git works again, main moves to the live commit', async () => {
  const { name, tree, first } = await liveTool(server, 'killed-always');
  const two = await tree.commit('two', webTool('two'));
  await git.kill('told to commit', 10_000);
  const pushed = await tree.push();
  assert.equal((await server.get(name)).body, 'two');
  assert.equal(await ref(name, 'refs/heads/main'), first);
  assert.notEqual(pushed.exitCode, 0, pushed.stderr);
  assert.match(
    pushed.stderr,
    /\[remote rejected\] main -> main \(v2 is live, but the branch main has not moved to it yet/,
  );
  await git.stop();
  await until(async () => (await ref(name, 'refs/heads/main')) === two, 'main follows');
  await until(async () => (await locks(name)).length === 0, 'no lock is left');
  await assertPushes(name, tree, 'three');
});

test('threat 82: if `git update-ref` is killed whenever it has locked the refs, a push does not go live; when git works again, the next push goes live', async () => {
  const { name, tree, first } = await liveTool(server, 'killed-before');
  await tree.commit('two', webTool('two'));
  await git.kill('locked', 10_000);
  const pushed = await tree.push();
  await git.stop();
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, /v1 is still live/);
  assert.equal(await ref(name, 'refs/heads/main'), first);
  assert.equal((await server.get(name)).body, 'one');
  await assertPushes(name, tree, 'three');
});
