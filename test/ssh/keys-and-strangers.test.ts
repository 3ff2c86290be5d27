import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import ssh2 from 'ssh2';
import type { Directory } from '../../src/auth/directory.ts';
import { connect, exec, LyingAgent, readAll } from '../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

let bench: SshWorkbench;
before(async () => {
  bench = await SshWorkbench.open();
});
after(() => bench.close());

test('a key that was removed from the user directory is refused, even on an open SSH connection', async () => {
  const privateKey = readFileSync(bench.path('alice'));
  const client = await connect({ port: bench.port, username: 'alice', privateKey });
  assert.equal((await readAll(await exec(client, 'x'))).code, 0);
  const users = { alice: { keys: [bench.publicKey('stranger')] } };
  const tools = { hello: { maintainers: ['alice'] } };
  writeFileSync(bench.path('directory.yaml'), JSON.stringify({ users, tools }));
  for (const command of ['x', "git-upload-pack '/hello.git'"]) {
    const { stdout, stderr, code } = await readAll(await exec(client, command));
    assert.equal(code, 1);
    assert.match(
      `${stdout}${stderr}`,
      /This server no longer accepts the key with which this connection logged in/,
    );
  }
  client.end();
  bench.writeDirectory();
});

test('threat 9: 60 failed SSH logins of a stranger write at most 40 lines into the server’s log', async () => {
  for (let count = 0; count < 60; count += 1) {
    const username = `stranger${count}`;
    await assert.rejects(connect({ port: bench.port, username, password: 'guess' }));
  }
  // This login ends after the 60 connections above, so the server has logged all of them before the lines are counted.
  assert.equal((await bench.ssh('alice', 'alice', ['x'])).code, 0);
  const told = bench.logged.filter(({ msg }) => msg === 'ssh login failed').length;
  assert.ok(told <= 40, `${told} lines for 60 connections`);
});

test('threat 15: if somebody logs in with a deploy token as the user name, the server’s log does not contain the token', async () => {
  const other = await SshWorkbench.open();
  const username = 'tfp_abcdefghij_AbCdEfGhIjKlMnOpQrStUvWxYz012345';
  await assert.rejects(connect({ port: other.port, username, password: 'x-oauth-basic' }));
  await other.waitForLog('ssh login failed');
  await other.close();
  const text = JSON.stringify(other.logged);
  assert.match(text, /tfp_abcdefghij_…/);
  assert.doesNotMatch(text, /AbCdEf/);
});

test('threat 202: somebody who has logged in from three addresses, and then offers wrong keys from them, does not keep another person from logging in for the first time', async () => {
  const owners = new Map<string, string>();
  const asked: string[] = [];
  const directory = {
    // A slow LDAP server.
    identifyByKey: async (login: string, { blob }: { readonly blob: Buffer }) => {
      const uid = owners.get(blob.toString('base64')) ?? null;
      asked.push(login);
      if (uid === null) await wait(500);
      return uid === null ? null : { uid, onlyTool: null };
    },
    toolsOf: async () => [],
    close: async () => {},
  } as unknown as Directory;
  const crowded = await SshWorkbench.open({ directory });
  for (const [uid, name] of [
    ['eve', 'bob'],
    ['carol', 'alice'],
  ] as const)
    owners.set(crowded.publicKey(name).split(' ')[1] ?? '', uid);
  const { port } = crowded;
  const addresses = ['127.0.4.1', '127.0.4.2', '127.0.4.3'];
  for (const localAddress of addresses) {
    const privateKey = readFileSync(crowded.path('bob'));
    (await connect({ port, username: 'eve', privateKey, localAddress })).end();
  }
  let isOver = false;
  const wrongKeys = Array.from({ length: 24 }, () => ssh2.utils.generateKeyPairSync('ed25519').public);
  const attacks = wrongKeys.map(async (_, index) => {
    const offers = wrongKeys.slice(index, index + 6).map((publicKey) => ({ publicKey, signWith: null }));
    const localAddress = addresses[index % 3] ?? assert.fail();
    const login = { port, username: 'eve', localAddress, authHandler: ['agent'] as const };
    while (!isOver) {
      const agent = new LyingAgent(offers);
      await connect({ ...login, agent, authHandler: [...login.authHandler] }).catch(() => {});
    }
  });
  try {
    while (asked.length < 12) await wait(20);
    const { code, stderr } = await crowded.ssh('carol', 'alice', ['x'], ['-o', 'BindAddress=127.0.5.1']);
    assert.equal(code, 0, stderr);
  } finally {
    isOver = true;
    await crowded.close();
    await Promise.all(attacks);
  }
});
