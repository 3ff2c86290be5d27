import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { liveTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

/** Requests a path with a login. @returns the HTTP status. */
async function tryAs(login: string, password: string, path: string): Promise<number> {
  const authorization = `Basic ${Buffer.from(`${login}:${password}`).toString('base64')}`;
  const answer = await fetch(`http://${server.http}${path}`, { headers: { authorization } });
  await answer.bytes();
  return answer.status;
}

test('threat 9: logins with a valid token and another person’s name do not reset the limit on guesses at this person’s password', async () => {
  const { name } = await liveTool(server, 'guesser');
  const { stdout } = await server.command('token', 'create', name, 'ci');
  const secret = /^tfp_\S+/.exec(stdout)?.[0] ?? assert.fail(stdout);
  const path = `/${name}.git/info/refs?service=git-upload-pack`;
  const seen: number[] = [];
  for (let round = 0; round < 4; round += 1) {
    for (let guess = 0; guess < 4; guess += 1)
      seen.push(await tryAs('victim', `wrong-${round}-${guess}`, path));
    assert.equal(await tryAs('victim', secret, path), 200);
  }
  assert.ok(seen.includes(429), seen.join(' '));
});
