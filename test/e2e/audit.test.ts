import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { TestServer } from '../support/server.ts';
import { liveTool, WorkTree, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

/** Returns the lines of both files of the audit log: audit.log, and refused.log with refused logins. */
async function written(): Promise<string> {
  const read = async (name: string) =>
    await readFile(join(server.folder, 'data', name), 'utf8').catch(() => '');
  return (await read('audit.log')) + (await read('refused.log'));
}

/** The events of the audit log named `what`, for one tool or, if `tool` is null, for no tool. */
async function events(tool: string | null, what: string): Promise<Record<string, unknown>[]> {
  const lines = (await written()).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line)).filter((event) => event.tool === tool && event.what === what);
}

test('threat 43: the audit log has each push with its person, key and address, the old and new commit of each ref, and the reason of a refusal', async () => {
  const { name, tree, first } = await liveTool(server, 'forced');
  await tree.git('checkout', '--quiet', '--orphan', 'other');
  const other = await tree.commit('other', webTool('other'));
  assert.equal((await tree.push('-f', 'toolforge', 'other:main')).exitCode, 0);
  const broken = await tree.commit('broken', webTool('broken', 'exit 9'));
  assert.notEqual((await tree.push('toolforge', 'other:main')).exitCode, 0);
  const pushes = await events(name, 'push');
  assert.equal(pushes.length, 3);
  const [, forced, failed] = pushes;
  assert.equal(forced?.['uid'], server.user);
  assert.match(String(forced?.['credential']), /^ssh ED25519 SHA256:/);
  assert.equal(forced?.['address'], '127.0.0.1');
  assert.deepEqual(forced?.['updates'], [{ ref: 'refs/heads/main', old: first, new: other, refused: null }]);
  assert.ok(failed);
  const [update] = failed['updates'] as [Record<string, unknown>];
  assert.deepEqual([update['old'], update['new']], [other, broken]);
  assert.match(String(update['refused']), /^build failed: .*v2 is still live$/);
});

test('the audit log has fetches over SSH and over HTTP', async () => {
  const { name } = await liveTool(server, 'cloned');
  for (const door of ['ssh', 'http'] as const) {
    const tree = await WorkTree.create(server, door, name);
    assert.equal((await tree.git('fetch', '--quiet', 'toolforge')).exitCode, 0);
  }
  const doors = new Set((await events(name, 'fetch')).map(({ door }) => door));
  assert.deepEqual([...doors].sort(), ['http', 'ssh']);
});

test('the audit log has a refused login with the claimed user name, but without the password', async () => {
  const wrong = await fetch(`http://${server.http}/-/command`, {
    method: 'POST',
    body: 'tools',
    headers: { authorization: `Basic ${Buffer.from('mallory:guessed-words').toString('base64')}` },
  });
  assert.equal(wrong.status, 401);
  const [refused] = (await events(null, 'login refused')).filter(({ uid }) => uid === 'mallory');
  assert.equal(refused?.['door'], 'http');
  assert.equal(refused?.['credential'], null);
  assert.doesNotMatch(await written(), /guessed-words/);
});
