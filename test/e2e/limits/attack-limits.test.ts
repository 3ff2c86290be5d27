import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { liveTool, WorkTree, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_REPOSITORY_SIZE: '4' });
});
after(async () => server[Symbol.asyncDispose]());

const isFull = /the repository has \d+ MiB, more than its limit of 4 MiB \(repository_size\)/;

/** The server's peak memory since the last call, in MiB. */
async function peak(): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  await writeFile(`/proc/${server.pid}/clear_refs`, '5');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

test('threat 34: objects that are pushed only with tags count towards the limit repository_size', async () => {
  const { tree } = await liveTool(server, 'tagged');
  for (const name of ['one', 'two']) {
    await tree.commit(name, { data: randomBytes(3_000_000).toString('base64') });
    await tree.git('tag', name);
    const pushed = await tree.push('toolforge', name);
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  }
  await tree.git('tag', 'three');
  const pushed = await tree.push('toolforge', 'three');
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, isFull);
});

test('threat 34: objects that git received count towards the limit repository_size even if their push is then refused', async () => {
  const { tree } = await liveTool(server, 'refused');
  for (const [index, name] of ['one', 'two', 'three'].entries()) {
    await tree.commit(name, { data: randomBytes(3_000_000).toString('base64') });
    await tree.git('tag', '--annotate', '--message', name, name);
    const pushed = await tree.push('toolforge', `+${name}:main`);
    assert.notEqual(pushed.exitCode, 0);
    assert.match(pushed.stderr, index < 2 ? /a tag object, not a commit/ : isFull);
  }
});

test('threat 37: each tag counts towards the limit repository_size, even if many tags name one commit', async () => {
  const { tree, first } = await liveTool(server, 'many-tags');
  for (const round of [1, 2, 3]) {
    const names = Array.from({ length: 490 }, (_, index) => `${first}:refs/tags/r${round}/${index}`);
    const pushed = await tree.push('--quiet', 'toolforge', ...names);
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  }
  const pushed = await tree.push('toolforge', `${first}:refs/tags/last`);
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, isFull);
});

test('threat 35: a commit message of 90 MB costs the server less than 60 MiB of memory', async () => {
  await server.addTool('wordy');
  const tree = await WorkTree.create(server, 'ssh', 'wordy');
  await tree.commit('one', webTool('one'));
  const file = join(server.folder, 'message');
  await writeFile(file, 'x'.repeat(90_000_000));
  await tree.git('commit', '--quiet', '--amend', '--file', file);
  await peak();
  const before = await peak();
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr.slice(-1000));
  assert.match(pushed.stderr, /"x{72}" → wordy/);
  assert.ok((await peak()) < before + 60, `${before} MiB became more`);
});
