import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { TestServer } from '../support/server.ts';

/** Makes a deploy token as bob. @returns the output of the command. */
async function token(server: TestServer, password: string, tool: string, name: string): Promise<string> {
  const made = await fetch(`http://${server.http}/-/command`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`bob:${password}`).toString('base64')}` },
    body: `token create ${tool} ${name}`,
  });
  return await made.text();
}

test('if deploy tokens cannot be revoked, `user remove` and `tool remove` remove the user or tool, but fail and name the command that revokes the tokens', async () => {
  await using server = await TestServer.start();
  const [, password = ''] = /Password: (\S+)/.exec((await server.local('user', 'add', 'bob')).stdout) ?? [];
  await server.local('tool', 'add', 'hello', '--maintainer', 'bob');
  assert.match(await token(server, password, 'hello', 'ci'), /^tfp_/);
  const other = new DatabaseSync(join(server.folder, 'data/store.sqlite'));
  other.exec(`CREATE TRIGGER stuck BEFORE DELETE ON deploy_tokens BEGIN SELECT RAISE(ABORT, 'stuck'); END`);

  const user = await server.local('user', 'remove', 'bob');
  assert.equal(user.exitCode, 1, user.stdout);
  assert.match(user.stdout, /^Removed bob, also as a maintainer of hello\.$/m);
  assert.match(user.stderr, /deploy tokens that bob made for hello could not be revoked/);
  assert.match(user.stderr, /npx toolforge-push token revoke TOOL --by bob/);
  const tool = await server.local('tool', 'remove', 'hello');
  assert.equal(tool.exitCode, 1, tool.stdout);
  assert.match(tool.stderr, /deploy tokens of hello could not be revoked/);
  assert.match(tool.stdout, /^Removed the tool hello\. Nobody maintains it any more\.$/m);
  assert.match(tool.stderr, /npx toolforge-push token revoke hello --all/);
  assert.doesNotMatch((await server.local('tool', 'list')).stdout, /^hello /m);

  other.exec('DROP TRIGGER stuck');
  other.close();
  assert.match(
    (await server.local('token', 'revoke', 'hello', '--by', 'bob')).stdout,
    /^Revoked ci \(.*\): this token can no longer be used\.$/,
  );
  const noted = await readFile(join(server.folder, 'data/audit.log'), 'utf8');
  assert.match(noted, /"what":"user remove".*"refused":"TOKENS_LEFT"/);
});

test('threat 132: `user remove` also revokes the deploy tokens for previews, so a later user of the same name does not revive them', async () => {
  await using server = await TestServer.start();
  const [, password = ''] = /Password: (\S+)/.exec((await server.local('user', 'add', 'bob')).stdout) ?? [];
  await server.local('tool', 'add', 'hello', '--maintainer', 'bob');
  const store = new DatabaseSync(join(server.folder, 'data/store.sqlite'));
  store.exec(
    `INSERT INTO tools (name, preview_of, preview_at) VALUES ('fix--hello', 'hello', ${Date.now()})`,
  );
  store.close();
  const [secret = ''] = (await token(server, password, 'fix--hello', 'ci')).split('\n');
  const tokensAs = async (login: string) => {
    const { status } = await fetch(`http://${server.http}/-/command`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(login).toString('base64')}` },
      body: 'token list fix--hello',
    });
    return status;
  };
  assert.equal(await tokensAs(`x:${secret}`), 200);
  const removed = await server.local('user', 'remove', 'bob');
  assert.equal(removed.exitCode, 0, removed.stderr);
  await server.local('user', 'add', 'bob');
  await server.local('tool', 'add', 'hello', '--maintainer', 'bob');
  assert.equal(await tokensAs(`x:${secret}`), 401);
  assert.match(removed.stdout, /^hello: Revoked ci \(.*\): this token can no longer be used\.$/m);
});
