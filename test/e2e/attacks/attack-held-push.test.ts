import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import { encodeCommandList } from '../../../src/git/push/command-list.ts';
import { packOf } from '../../support/attack-push.ts';
import { TestServer, until } from '../../support/server.ts';
import { liveTool, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

/** Makes a live tool. Returns the bytes of a push of a second commit, and a function that waits until git gets them. */
async function secondPush(name: string) {
  const { tree, first } = await liveTool(server, name);
  const second = await tree.commit('two', webTool('two'));
  const command = { oldId: first, newId: second, ref: 'refs/heads/main' };
  const capabilities = new Set(['report-status', 'side-band-64k']);
  const list = encodeCommandList({ commands: [command], capabilities, shallow: [], pushOptions: [] });
  const pack = await packOf(tree, [second, `^${first}`]);
  const objects = join(server.folder, `data/repositories/${name}.git/objects`);
  const isReceiving = async () => (await readdir(objects)).some((entry) => entry.includes('incoming'));
  return { list, pack, untilReceiving: () => until(isReceiving, 'the pack arrives') };
}

/** Makes a live tool, and pushes a second commit except the last 10 bytes of the pack. `finish` sends these. */
async function heldPush(name: string, login: (name: string) => Promise<string>) {
  const { list, pack, untilReceiving } = await secondPush(name);
  const push = request(`http://${server.http}/${name}.git/git-receive-pack`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(await login(name)).toString('base64')}`,
      'content-type': 'application/x-git-receive-pack-request',
    },
  });
  push.write(Buffer.concat([list, pack.subarray(0, -10)]));
  await untilReceiving();
  const finish = async (): Promise<string> => {
    push.end(pack.subarray(-10));
    const [response] = (await once(push, 'response')) as [IncomingMessage];
    return await text(response);
  };
  return { name, finish };
}

async function tokenOf(name: string): Promise<string> {
  const { stdout } = await server.command('token', 'create', name, 'ci');
  return /^tfp_\S+/.exec(stdout)?.[0] ?? assert.fail(stdout);
}

test('a push whose pack arrives in two parts goes live if its token stays valid', async () => {
  const { name, finish } = await heldPush('slow', async (tool) => `ci:${await tokenOf(tool)}`);
  assert.match(await finish(), /v2 is live/);
  assert.equal((await server.get(name)).body, 'two');
});

test('threat 8: a push with a token does not go live if the token is revoked before the whole pack has arrived', async () => {
  const { name, finish } = await heldPush('stolen', async (tool) => `ci:${await tokenOf(tool)}`);
  const [{ id }] = JSON.parse((await server.command('token', 'list', name, '--json')).stdout);
  assert.equal((await server.command('token', 'revoke', name, id)).exitCode, 0);
  assert.match(await finish(), /ng refs\/heads\/main .*token ci .* is no longer valid/s);
  assert.equal((await server.get(name)).body, 'one');
});

test('threat 8: a push does not go live if its tool is removed from directory.yaml before the whole pack has arrived', async () => {
  const { name, finish } = await heldPush('held', async () => `${server.user}:${server.password}`);
  await new DirectoryFile(join(server.folder, 'data/directory.yaml')).removeTool(name);
  assert.match(await finish(), /ng refs\/heads\/main there is no tool held that .* maintains/);
  assert.equal((await server.get(name)).body, 'one');
});

test('threat 8: a push over SSH does not go live if its key is removed from directory.yaml before the whole pack has arrived', async () => {
  const { list, pack, untilReceiving } = await secondPush('thief');
  const key = join(server.folder, 'stolen');
  await execa('ssh-keygen', ['-q', '-N', '', '-t', 'ed25519', '-f', key]);
  assert.equal((await server.local('user', 'add', server.user, '--key', `${key}.pub`)).exitCode, 0);
  const [host = '', port = ''] = server.ssh.split(':');
  const options = (server.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ').slice(5);
  const target = ['-p', port, `${server.user}@${host}`, "git-receive-pack '/thief.git'"];
  const push = execa('ssh', ['-F', 'none', '-i', key, ...options, ...target], { reject: false });
  push.stdin.write(Buffer.concat([list, pack.subarray(0, -10)]));
  await untilReceiving();
  const file = join(server.folder, 'data/directory.yaml');
  const [, blob = ''] = (await readFile(`${key}.pub`, 'utf8')).split(' ');
  const lines = (await readFile(file, 'utf8')).split('\n');
  await writeFile(file, lines.filter((line) => !line.includes(blob)).join('\n'));
  push.stdin.end(pack.subarray(-10));
  assert.match((await push).stdout, /ng refs\/heads\/main this server no longer accepts the key/);
  assert.equal((await server.get('thief')).body, 'one');
});
