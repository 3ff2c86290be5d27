import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { after, before, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import ssh2, { type Client } from 'ssh2';
import { readingTime } from '../../../src/core/fair-share/reading-time.ts';
import { connect, exec, readAll } from '../../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../../support/ssh/ssh-workbench.ts';

const MiB = 1024 * 1024;
let bench: SshWorkbench;
before(async () => {
  bench = await SshWorkbench.open();
});
after(() => bench.close());

/** Private parts of ssh2's client, which the tests use to attack the server. */
interface Inner {
  readonly _sock: { pause(): void; destroy(): void };
  readonly _protocol: {
    rekey(): void;
    session(id: number, window: number, packetSize: number): void;
  };
}
const innerOf = (client: Client) => client as unknown as Inner;

const credentials = () => ({
  port: bench.port,
  username: 'alice',
  privateKey: readFileSync(bench.path('alice')),
});

async function isWell(): Promise<void> {
  assert.equal((await bench.ssh('alice', 'alice', ['x'])).code, 0);
}

test('threat 21: if an SSH client never ends a key exchange, the server collects at most 1 MiB of the output of its command in memory', async () => {
  let sent = 0;
  const go = Promise.withResolvers<void>();
  bench.command = async (line) => {
    if (line.argv[0] !== 'flood') return 0;
    await line.out('first');
    await go.promise;
    for (; sent < 300 && !line.signal.aborted; sent += 1) {
      await line.out(Buffer.alloc(MiB, 'x'));
      await nextTurn();
    }
    return 0;
  };
  const client = await connect(credentials());
  const { _protocol, _sock } = innerOf(client);
  const openSession = _protocol.session.bind(_protocol);
  _protocol.session = (id, _window, packetSize) => openSession(id, 0xffff_ffff, packetSize);
  const channel = await exec(client, 'flood');
  await once(channel, 'data');
  _protocol.rekey();
  _sock.pause();
  // Other clients are still served. This login ends after the exchange has begun; the logins below give the flood time.
  await isWell();
  go.resolve();
  for (let round = 0; round < 3; round += 1) await isWell();
  assert.ok(sent <= 1, `${sent} MiB were taken`);
  _sock.destroy();
});

test('output that a command writes during an SSH key exchange arrives after the exchange', async () => {
  bench.command = async (line) => {
    for (let part = 0; part < 20; part += 1) await line.out(Buffer.alloc(MiB, 'x'));
    return 0;
  };
  const client = await connect(credentials());
  const channel = await exec(client, 'flood');
  const all = readAll(channel);
  for (let round = 0; round < 5; round += 1) {
    innerOf(client)._protocol.rekey();
    await once(client, 'handshake');
  }
  const { stdout, code } = await all;
  assert.equal(stdout.length, 20 * MiB);
  assert.equal(code, 0);
  client.end();
});

test('threat 20: the server disconnects an SSH client after at most 31 key exchanges without a pause', async () => {
  const client = await connect(credentials());
  const closed = once(client, 'close').then(() => true);
  let exchanges = 0;
  while (exchanges < 200) {
    innerOf(client)._protocol.rekey();
    if (await Promise.race([closed, once(client, 'handshake').then(() => false)])) break;
    exchanges += 1;
  }
  assert.ok(exchanges <= 31, `${exchanges} key exchanges`);
  await isWell();
});

test('threat 20: an SSH client that has not logged in is disconnected at the latest after its second key exchange', async () => {
  const client = new ssh2.Client();
  client.on('error', () => {});
  let exchanges = -1;
  client.on('handshake', () => {
    exchanges += 1;
    if (exchanges >= 20) client.destroy();
    else if (exchanges > 0) innerOf(client)._protocol.rekey();
  });
  client.connect({
    host: '127.0.0.1',
    port: bench.port,
    username: 'alice',
    authHandler: () => innerOf(client)._protocol.rekey(),
  });
  await once(client, 'close');
  assert.ok(exchanges <= 1, `${exchanges} key exchanges`);
  await isWell();
});

for (const packetSize of [0, 1]) {
  test(`threat 21: if a client asks for packets of at most ${packetSize} bytes, only its SSH connection ends`, async () => {
    const client = await connect(credentials());
    const closed = once(client, 'close');
    const { _protocol } = innerOf(client);
    const openSession = _protocol.session.bind(_protocol);
    _protocol.session = (id, window) => openSession(id, window, packetSize);
    // If the server accepted this size, it and the test would loop until the time limit of the test process.
    client.exec('x', () => {});
    await closed;
    await isWell();
  });
}

test('the server distinguishes two SSH connections from the same client port to different addresses of the server', async () => {
  const other = await SshWorkbench.open({
    config: {
      ssh: { host: '0.0.0.0', port: 0 },
      ssh_grace_time: 1000,
      ssh_startups: 100,
      ssh_per_address: 50,
      ssh_per_person: 50,
    },
  });
  try {
    // The system allows no second connection from a local port that it chose itself, so the test chooses one.
    const from = { localAddress: '127.0.0.1', localPort: 20_000 + randomInt(10_000), port: other.port };
    const one = createConnection({ host: '127.0.0.1', ...from });
    await once(one, 'connect');
    const silent = createConnection({ host: '127.0.0.2', ...from });
    await once(silent, 'connect');
    silent.on('error', () => {}).resume();
    const cut = once(silent, 'close');
    const client = await connect({
      sock: one,
      username: 'alice',
      privateKey: readFileSync(other.path('alice')),
    });
    const left = once(client, 'close').then(() => 'the one that has logged in');
    assert.equal(await Promise.race([cut.then(() => 'the silent one'), left]), 'the silent one');
    assert.equal((await readAll(await exec(client, 'x'))).code, 0);
    client.end();
  } finally {
    await other.close();
  }
});

/** All bytes that a client sends for its first key exchange. They are constants, so only the server must compute. */
function keyExchange(): Buffer {
  const uint32 = (value: number) => Buffer.from([value >> 24, value >> 16, value >> 8, value]);
  const string = (bytes: Buffer) => Buffer.concat([uint32(bytes.length), bytes]);
  const packet = (payload: Buffer) => {
    const padding = 16 - ((5 + payload.length) % 8);
    const head = Buffer.concat([uint32(1 + payload.length + padding), Buffer.from([padding])]);
    return Buffer.concat([head, payload, Buffer.alloc(padding)]);
  };
  const cipher = 'aes128-gcm@openssh.com';
  const names = ['curve25519-sha256', 'ssh-ed25519', cipher, cipher, 'hmac-sha2-256', 'hmac-sha2-256'];
  const lists = [...names, 'none', 'none', '', ''].map((name) => string(Buffer.from(name)));
  const begin = Buffer.concat([Buffer.from([20]), Buffer.alloc(16), ...lists, Buffer.alloc(5)]);
  const key = Buffer.concat([Buffer.from([30]), string(Buffer.alloc(32, 9))]);
  return Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), packet(begin), packet(key)]);
}

test('threat 20: the server reads slowly only from an address that begins many key exchanges at once', async () => {
  const bytes = keyExchange();
  const from = { host: '127.0.0.1', localAddress: '127.0.0.9', port: bench.port };
  const sockets = Array.from({ length: 40 }, () => createConnection(from).on('error', () => {}));
  await Promise.all(sockets.map((socket) => once(socket, 'data')));
  let owes = 0;
  const answers = sockets.map(async (socket) => {
    socket.on('data', () => {
      owes = Math.max(owes, readingTime.waitMs('ssh 127.0.0.9'));
    });
    socket.write(bytes);
    // The first 700 bytes include the server's half of the exchange. After them, the client leaves.
    while (socket.bytesRead < 700) await once(socket, 'data');
    socket.destroy();
  });
  await Promise.all(answers);
  assert.ok(owes > 0, 'the address was not slowed down');
  assert.equal(readingTime.waitMs('ssh 127.0.0.1'), 0);
  await isWell();
});
