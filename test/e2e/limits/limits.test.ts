import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { liveTool, WorkTree, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({
    TOOLFORGE_PUSH_PUSH_REFS: '5',
    TOOLFORGE_PUSH_PACK_SIZE: '6',
    TOOLFORGE_PUSH_REPOSITORY_SIZE: '8',
    TOOLFORGE_PUSH_BUILDS_A_DAY: '3',
    TOOLFORGE_PUSH_TREE_FILES: '50',
    TOOLFORGE_PUSH_TREE_BYTES: '12',
  });
});
after(async () => server[Symbol.asyncDispose]());

/** Files of one MiB each, made of random hexadecimal digits, which git can compress only to half. */
function blobs(folder: string, count: number): Record<string, string> {
  const blob = () => randomBytes(384 * 1024).toString('hex') + randomBytes(128 * 1024).toString('hex');
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${folder}/${index}.txt`, blob()]));
}

test('threat 37: a push of more refs than push_refs allows is refused, the message names the limit, and no ref changes', async () => {
  const { name, tree, first } = await liveTool(server, 'many-refs');
  for (let index = 0; index < 6; index++) await tree.git('tag', `t${index}`);
  const pushed = await tree.push('--tags', 'toolforge');
  assert.notEqual(pushed.exitCode, 0);
  assert.match(
    pushed.stderr,
    /\[remote rejected\] t0 -> t0 \(this push has 6 refs, and one push may have 5 \(push_refs\)/,
  );
  const refs = await server.inRepository(name, 'for-each-ref', '--format=%(refname)');
  assert.doesNotMatch(refs, /tags/);
  assert.equal(await server.inRepository(name, 'rev-parse', 'refs/heads/main'), first);
});

test('threat 34: a push larger than pack_size is refused, the message names the limit, and the live release stays', async () => {
  const { name, tree } = await liveTool(server, 'large-pack');
  await tree.commit('two', { ...webTool('two'), ...blobs('data', 13) });
  const pushed = await tree.push();
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, /larger than 6 MiB, the limit for one push \(pack_size\)/);
  assert.equal((await server.get(name)).body, 'one');
});

test('threat 36: a commit with more files than tree_files or more MiB than tree_bytes is refused; the message names the limit and the largest folders', async () => {
  const { name, tree } = await liveTool(server, 'large-tree');
  const zeros = 'x'.repeat(7 * 1024 * 1024);
  await tree.commit('two', {
    ...webTool('two'),
    'data/a.txt': zeros,
    'data/b.txt': `${zeros}y`,
    'c.txt': 'z',
  });
  const large = await tree.push();
  assert.notEqual(large.exitCode, 0);
  assert.match(
    large.stderr,
    /more than 12 MiB of files \(the largest files and folders at its top: data\/ 15 MiB/,
  );
  await tree.git('rm', '--quiet', '-r', 'data');
  const many = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`many/${index}`, 'x']));
  await tree.commit('three', { ...webTool('three'), ...many });
  const pushed = await tree.push();
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, /more than 50 files \(the largest files and folders at its top:/);
  assert.equal((await server.get(name)).body, 'one');
});

test('a push to a repository larger than repository_size is refused; the message names the size of the repository and the limit', async () => {
  const name = 'large-repository';
  await server.addTool(name);
  const tree = await WorkTree.create(server, 'http', name);
  for (const [count, text] of ['one', 'two'].entries()) {
    await tree.git('rm', '--quiet', '-r', '--ignore-unmatch', 'data');
    await tree.commit(text, { ...webTool(text), ...blobs(`data/${count}`, 9) });
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  }
  await tree.commit('three', webTool('three'));
  const pushed = await tree.push();
  assert.notEqual(pushed.exitCode, 0);
  assert.match(
    pushed.stderr,
    /\[remote rejected\] main -> main \(the repository has \d+ MiB, more than its limit of 8 MiB \(repository_size\)/,
  );
  assert.equal((await server.get(name)).body, 'two');
});

test('after builds_a_day builds of a tool in 24 hours, a new commit is refused, but a commit that was built earlier is deployed', async () => {
  const { name, tree, first } = await liveTool(server, 'busy');
  for (const text of ['two', 'three']) {
    await tree.commit(text, webTool(text));
    assert.equal((await tree.push()).exitCode, 0);
  }
  await tree.commit('four', webTool('four'));
  const pushed = await tree.push();
  assert.notEqual(pushed.exitCode, 0);
  assert.match(
    pushed.stderr,
    /busy has had 3 builds in 24 hours, and at most 3 are allowed \(builds_a_day\); v3 is still live/,
  );
  assert.match(pushed.stderr, /Push again in 24 h\./);
  const again = await tree.push('-f', 'toolforge', `${first}:main`);
  assert.equal(again.exitCode, 0, again.stderr);
  assert.equal((await server.get(name)).body, 'one');
});
