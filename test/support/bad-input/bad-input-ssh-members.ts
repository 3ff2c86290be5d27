import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Client, ClientChannel, Connection } from 'ssh2';
import { flushPacket, pktLine } from '../../../src/git/push/pkt-line.ts';
import { sendMessage, sshString, uint32 } from '../../../src/ssh/protocol/ssh2-internals.ts';
import { connect, exec, readAll } from '../ssh/ssh-attacker.ts';
import type { BadInput, Siege } from './bad-input.ts';
import { type BadPush, plain } from './bad-input-pushes.ts';

const MiB = 1024 * 1024;
const ADDRESS = '127.0.0.3';
const noise = randomBytes(100_000);

const message = (type: number, ...parts: Buffer[]) => Buffer.concat([Buffer.of(type), ...parts]);
const channelOf = (channel: ClientChannel) =>
  channel as unknown as { outgoing: { id: number; window: number; packetSize: number } };

/** Bad input of a logged-in user to the SSH door, except pushes. */
export const memberKinds: readonly BadInput[] = [
  commands(
    'threat 16: git commands with shell syntax',
    /is not the repository of a tool|repository is missing/,
    [
      "git-receive-pack 'hello.git'; id",
      'git-receive-pack hello.git && id',
      'git-upload-pack $(id)',
      'git-upload-pack `id`',
      "git-upload-pack --upload-pack=id 'hello.git'",
      "git-receive-pack '../../etc'",
      "git-receive-pack '/etc/passwd'",
      "git-receive-pack 'hello.git\n.git'",
      'git-receive-pack',
      `git-receive-pack '${'a/'.repeat(10_000)}'`,
    ],
  ),
  commands('threat 16: invalid commands', /no command|no tool|not/i, [
    'sh -c id',
    'rm -rf /',
    'help\0; id',
    "'unfinished",
    'ps ../../etc',
    'logs $(id)',
    `${'x '.repeat(15_000)}`,
    '\u001b]0;x\u0007',
  ]),
  commands('threat 29: the tool of somebody else', /quiet/, [
    "git-receive-pack 'quiet.git'",
    "git-upload-pack 'quiet.git'",
    'stop quiet',
    'config quiet',
  ]),
  member('threat 17: a thousand variables', 8, async (client) => {
    const env: Record<string, string> = {
      LD_PRELOAD: '/x.so',
      GIT_DIR: '/etc',
      GIT_CONFIG_COUNT: '1',
      GIT_PROTOCOL: 'x',
    };
    for (let index = 0; index < 1000; index += 1) env[`GIT_CONFIG_KEY_${index}`] = 'core.sshCommand';
    const channel = await new Promise<ClientChannel>((resolve, reject) =>
      client.exec("git-upload-pack 'hello.git'", { env }, (error, opened) =>
        error ? reject(error) : resolve(opened),
      ),
    );
    const all = readAll(channel);
    channel.end('0000');
    const { stdout, code } = await all;
    assert.match(stdout.toString(), /^[0-9a-f]{44} HEAD\0/);
    assert.equal(code, 0);
  }),
  member('threat 18: terminals, subsystems and forwardings', 8, async (client) => {
    const refused = (ask: (done: (error?: Error | null) => void) => void) =>
      assert.rejects(
        new Promise<void>((resolve, reject) => ask((error) => (error ? reject(error) : resolve()))),
      );
    await refused((done) => client.exec('help', { pty: true }, done));
    await refused((done) => client.exec('help', { x11: true }, done));
    await refused((done) => client.sftp(done));
    await refused((done) => client.subsys('netconf', done));
    await refused((done) => client.forwardIn('127.0.0.1', 0, done));
    await refused((done) => client.forwardOut('127.0.0.1', 1, '127.0.0.1', 22, done));
    await refused((done) => client.openssh_forwardInStreamLocal('/tmp/x', done));
    await refused((done) => client.openssh_forwardOutStreamLocal('/run/docker.sock', done));
  }),
  member('threat 21: too many sessions', 8, async (client) => {
    const opened = Array.from({ length: 30 }, () => exec(client, "git-receive-pack 'hello.git'"));
    const settled = await Promise.allSettled(opened);
    assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 10);
  }),
  {
    name: 'threat 21: more bytes than the window allows',
    times: 4,
    send: async (siege) => {
      const client = await logIn(siege);
      const closed = end(client);
      const channel = await exec(client, 'logs -f hello');
      Object.assign(channelOf(channel).outgoing, { window: 2 ** 31, packetSize: 30_001 });
      channel.on('error', () => {});
      channel.write(Buffer.alloc(32 * MiB));
      await closed;
    },
  },
  member('threat 21: a follower that does not read, and disconnects', 8, async (client) => {
    const channel = await exec(client, 'logs -f hello');
    channel.pause();
    sendMessage(
      client as unknown as Connection,
      message(93, uint32(channelOf(channel).outgoing.id), uint32(2 ** 31)),
    );
    socketOf(client).destroy();
  }),
  member('threat 54: a client that disconnects during its push', 8, async (client, siege) => {
    const channel = await exec(client, "git-receive-pack 'hello.git'");
    await once(channel, 'data');
    const line = `${'0'.repeat(40)} ${siege.first} refs/heads/main\0report-status side-band-64k`;
    channel.write(
      Buffer.concat([pktLine(line), flushPacket, Buffer.from('PACK\0\0\0\u0002\0\0\0\u0009', 'latin1')]),
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    socketOf(client).destroy();
  }),
  member('threat 24: malformed fetches', 8, async (client) => {
    for (const input of [
      'nonsense',
      'ffff',
      noise.subarray(0, 4096),
      `0032want ${'1'.repeat(40)}\n00000009done\n`,
    ]) {
      const { code } = await say(client, "git-upload-pack 'hello.git'", input);
      assert.notEqual(code, 0);
    }
  }),
  messages('messages for a missing channel', false, [
    message(94, uint32(77), sshString('x')),
    message(93, uint32(77), uint32(2 ** 31)),
    message(96, uint32(77)),
    message(97, uint32(77)),
    message(98, uint32(77), sshString('exec'), Buffer.of(1), sshString('id')),
  ]),
  messages(
    'messages of unknown types',
    false,
    Array.from({ length: 200 }, (_, type) => message((type % 40) + 192, noise.subarray(0, 64))),
  ),
  messages(
    '2,000 global requests of an unknown type',
    false,
    Array.from({ length: 2000 }, () => message(80, sshString('x@y'), Buffer.of(1))),
  ),
  messages('noise instead of a key exchange', true, [message(20, noise.subarray(0, 1000))]),
  messages('truncated messages', true, [
    message(90, uint32(4096)),
    message(94),
    message(98, uint32(0)),
    message(20),
  ]),
  {
    name: 'threat 23: encrypted noise',
    times: 8,
    send: async (siege) => {
      const client = await logIn(siege);
      const closed = end(client);
      socketOf(client).write(noise);
      await closed;
    },
  },
];

/** Sends a bad push in an SSH session. It is sent half as often as by HTTP, because each time needs a login. */
export function pushBySsh({ name, times, bodies, answer }: BadPush): BadInput {
  return member(name, times / 2, async (client) => {
    for (const body of bodies) {
      const { text, code } = await say(client, "git-receive-pack 'hello.git'", body);
      assert.match(text, answer);
      assert.notEqual(code, 0);
    }
  });
}

/** Bad input that runs `send` on a logged-in connection, and then closes the connection. */
function member(
  name: string,
  times: number,
  send: (client: Client, siege: Siege) => Promise<unknown>,
): BadInput {
  return {
    name,
    times,
    send: async (siege) => {
      const client = await logIn(siege);
      const closed = end(client);
      await send(client, siege);
      client.end();
      await closed;
    },
  };
}

/**
 * Waits until a connection is closed. `once(client, 'close')` would reject if the server gives a reason, because the
 * client then emits an error.
 */
const end = (client: Client) => new Promise<void>((resolve) => client.once('close', () => resolve()));

function logIn(siege: Siege): Promise<Client> {
  const privateKey = readFileSync(siege.key);
  const { user } = siege.server;
  return connect({
    port: siege.port,
    username: user,
    privateKey,
    localAddress: ADDRESS,
    strictVendor: false,
  });
}

/** Runs a command. @returns its output and its exit status. */
async function say(
  client: Client,
  command: string,
  input: Buffer | string = '',
): Promise<{ text: string; code: number | null }> {
  const channel = await exec(client, command);
  const all = readAll(channel);
  channel.end(input);
  const { stdout, stderr, code } = await all;
  return { text: plain(stdout.toString('latin1')) + stderr.toString('latin1'), code };
}

/** Commands that must be answered with text that `words` matches, and with a status other than 0. */
function commands(name: string, words: RegExp, lines: readonly string[]): BadInput {
  return member(name, 8, async (client) => {
    for (const line of lines) {
      const { text, code } = await say(client, line);
      assert.match(text, words, line.slice(0, 100));
      assert.notEqual(code, 0, line.slice(0, 100));
      assert.doesNotMatch(text, /uid=|root:|you did not cause this/, line.slice(0, 100));
    }
  });
}

/** Raw SSH messages. If `ends`, they must end the connection. If not, the connection must still answer a command. */
function messages(name: string, ends: boolean, payloads: readonly Buffer[]): BadInput {
  return {
    name: `threat 23: ${name}`,
    times: 8,
    send: async (siege) => {
      const client = await logIn(siege);
      const closed = end(client);
      for (const payload of payloads) sendMessage(client as unknown as Connection, payload);
      if (!ends) {
        assert.equal((await say(client, 'help')).code, 0);
        client.end();
      }
      await closed;
    },
  };
}

function socketOf(client: Client): Socket {
  return (client as unknown as { readonly _sock: Socket })._sock;
}
