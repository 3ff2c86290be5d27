import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestServer } from '../support/server.ts';
import { liveTool, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

const remote = (login: string, secret: string, tool: string) =>
  `${server.remote('http', tool).replace(/\/\/[^@]*@/, `//${login}:${secret}@`)}`;

/** Makes a live tool with a token named `ci`. */
async function withToken(name: string, ...flags: string[]) {
  const made = await liveTool(server, name);
  const { stdout } = await server.command('token', 'create', name, 'ci', ...flags);
  const secret = /^tfp_\S+/.exec(stdout)?.[0] ?? assert.fail(stdout);
  return { ...made, secret };
}

test('a push over HTTP with a deploy token works under any user name, and the release names the token', async () => {
  const { name, tree, secret } = await withToken('by-token');
  await tree.commit('two', webTool('two'));
  const pushed = await tree.push(remote('anything', secret, name), 'main');
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal((await server.get(name)).body, 'two');
  const [release] = JSON.parse((await server.command('releases', name, '--json')).stdout);
  assert.equal(release.by, server.user);
  assert.match(release.credential, /^token ci \([a-z0-9]{10}\)$/);
  const [token] = JSON.parse((await server.command('token', 'list', name, '--json')).stdout);
  assert.notEqual(token.lastUsedAt, null);
});

test('a read token can list the refs of its tool, but a push with it is refused with the reason', async () => {
  const { name, tree, first, secret } = await withToken('reader', '--read');
  const listed = await tree.git('ls-remote', remote('x', secret, name), 'refs/heads/main');
  assert.match(listed.stdout, new RegExp(first));
  await tree.commit('two', webTool('two'));
  const pushed = await tree.push(remote('x', secret, name), 'main');
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, /token ci .* may only read reader, but this request needs the right to deploy/);
  assert.equal((await server.get(name)).body, 'one');
});

test('a deploy token gives access only to its own tool, and a revoked deploy token to no tool', async () => {
  const { name, tree, secret } = await withToken('mine');
  const other = await liveTool(server, 'not-mine');
  const wrong = await tree.git('ls-remote', remote('x', secret, other.name));
  assert.notEqual(wrong.exitCode, 0);
  assert.match(wrong.stderr, /The token ci \([a-z0-9]{10}\) is only for the tool mine/);
  const [token] = JSON.parse((await server.command('token', 'list', name, '--json')).stdout);
  assert.equal((await tree.git('ls-remote', remote('x', secret, name))).exitCode, 0);
  assert.equal((await server.command('token', 'revoke', name, token.id)).exitCode, 0);
  const gone = await tree.git('ls-remote', remote('x', secret, name));
  assert.notEqual(gone.exitCode, 0);
  assert.match(gone.stderr, /Authentication failed/);
});

test('threat 15: a token in a URL appears neither in the server’s log nor in the answer', async () => {
  const { name, tree, secret } = await withToken('quiet');
  await tree.git('ls-remote', remote('x', secret, name));
  await tree.git('ls-remote', remote('x', `${secret.slice(0, -1)}!`, name));
  const answer = await fetch(
    `http://${server.http}/${name}.git/info/refs?service=git-upload-pack&token=${secret}`,
  );
  assert.equal(answer.status, 401);
  const said = JSON.stringify(server.lines) + (await answer.text()) + server.told;
  assert.match(said, /http request/);
  assert.doesNotMatch(said, new RegExp(secret.slice(-32)));
});

test('a removed tool runs until the operator stops it; its deploy tokens stay invalid even if a new tool gets its name', async () => {
  const { name, tree, secret } = await withToken('removed');
  const removed = await server.local('tool', 'remove', name);
  assert.match(removed.stdout, /Revoked ci \(/);
  assert.match(removed.stdout, /To end them: npx toolforge-push stop removed/);
  assert.equal((await server.get(name)).body, 'one');
  const stopped = await server.local('stop', name);
  assert.equal(stopped.exitCode, 0, stopped.stderr);
  assert.equal((await server.get(name)).status, 503);
  await server.addTool(name);
  const used = await tree.git('ls-remote', remote('x', secret, name));
  assert.match(used.stderr, /Authentication failed/);
});
