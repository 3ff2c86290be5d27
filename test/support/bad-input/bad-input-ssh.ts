import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import ssh2, { type ConnectConfig, type Connection } from 'ssh2';
import { sendMessage, sshString, uint32 } from '../../../src/ssh/protocol/ssh2-internals.ts';
import { connect, LyingAgent } from '../ssh/ssh-attacker.ts';
import type { BadInput, Siege } from './bad-input.ts';
import { memberKinds } from './bad-input-ssh-members.ts';

const MiB = 1024 * 1024;
const noise = randomBytes(MiB);
const introduction = 'SSH-2.0-x\r\n';

/** Sends bytes without a login. The server must end the connection. */
function stranger(name: string, times: number, bytes: readonly (string | Buffer)[]): BadInput {
  const send = async (siege: Siege) => {
    const text = await siege.knock(bytes);
    assert.match(text, /^SSH-2\.0-toolforge-push\r\n|^$/);
  };
  return { name: `threat 20: ${name}`, times, send };
}

/** Tries a login that the server must refuse. */
function refusedLogin(name: string, times: number, config: (siege: Siege) => ConnectConfig): BadInput {
  const send = async (siege: Siege) => {
    const options = {
      port: siege.port,
      username: siege.server.user,
      localAddress: '127.0.0.3',
      ...config(siege),
    };
    await assert.rejects(
      connect(options),
      /All configured authentication methods failed|closed|lost|ECONNRESET/,
    );
  };
  return { name, times, send };
}

const strangers: readonly BadInput[] = [
  {
    name: 'threat 20: clients that send nothing, or few bytes, until the grace time is over',
    times: 5,
    send: async (siege) => {
      const slow = [[], [...'SSH-2.0-slow'], [introduction, Buffer.of(0), Buffer.of(0), Buffer.of(4)]];
      const texts = await Promise.all(slow.map((bytes) => siege.knock(bytes, { pauseMs: 150 })));
      for (const text of texts) assert.match(text, /^SSH-2\.0-toolforge-push\r\n/);
    },
  },
  stranger('HTTP', 24, ['GET / HTTP/1.1\r\nHost: x\r\n\r\n']),
  stranger('TLS', 24, [Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), noise.subarray(0, 500)]),
  stranger('the wrong version', 24, ['SSH-1.5-old\r\n']),
  stranger('an endless line', 8, [Buffer.alloc(2 * MiB, 'A')]),
  stranger('an endless identification', 8, ['SSH-2.0-', Buffer.alloc(2 * MiB, 'A')]),
  stranger('many lines', 16, ['hello\r\n'.repeat(5000)]),
  stranger('an identification and noise', 16, [introduction, noise]),
  stranger('packets of 4 GiB', 16, [introduction, Buffer.alloc(70_000, 255)]),
  stranger('empty packets', 16, [introduction, Buffer.alloc(70_000)]),
];

const logins: readonly BadInput[] = [
  {
    name: 'threat 14: a session before the login',
    times: 16,
    send: async (siege) => {
      const refused = Promise.withResolvers<void>();
      const client = new ssh2.Client();
      client.once('ready', () => refused.reject(new Error('the login succeeded')));
      client.on('error', refused.reject);
      client.connect({
        host: '127.0.0.1',
        port: siege.port,
        localAddress: '127.0.0.3',
        username: siege.server.user,
        debug: (text) => text.includes('Inbound: CHANNEL_OPEN_FAILURE') && refused.resolve(),
        authHandler: () => {
          const session = [sshString('session'), uint32(0), uint32(MiB), uint32(32_768)];
          const command = [uint32(0), sshString('exec'), Buffer.of(1), sshString('help')];
          sendMessage(client as unknown as Connection, Buffer.concat([Buffer.of(90), ...session]));
          sendMessage(client as unknown as Connection, Buffer.concat([Buffer.of(98), ...command]));
        },
      });
      await refused.promise;
      client.end();
    },
  },
  refusedLogin('threat 9: passwords', 16, () => ({ password: 'guess', tryKeyboard: true })),
  refusedLogin('threat 14: an offered key without a signature', 8, (siege) => ({
    agent: new LyingAgent([{ publicKey: readFileSync(`${siege.key}.pub`, 'utf8'), signWith: null }]),
  })),
  refusedLogin('threat 14: a signature by another key', 16, (siege) => ({
    agent: new LyingAgent([
      { publicKey: readFileSync(`${siege.key}.pub`, 'utf8'), signWith: `${siege.server.folder}/neighbour` },
    ]),
  })),
  refusedLogin('threat 14: unusual names', 16, (siege) => ({
    username: `${'\u001b]0;x\u0007\0../'.repeat(2000)}`,
    privateKey: readFileSync(siege.key),
  })),
];

/** Bad input to the SSH door, except pushes. */
export const sshKinds: readonly BadInput[] = [...strangers, ...logins, ...memberKinds];
