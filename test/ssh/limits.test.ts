import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { after, describe, test } from 'node:test';
import type { Client, ClientChannel } from 'ssh2';
import type { SshDoorOptions } from '../../src/ssh/door.ts';
import { connect, exec, readAll } from '../support/ssh-attacker.ts';
import { SshWorkbench } from '../support/ssh-workbench.ts';

const MiB = 1024 * 1024;
const config = {
  ssh: { host: '127.0.0.1', port: 0 },
  ssh_grace_time: 30_000,
  ssh_startups: 100,
  ssh_per_address: 50,
};

async function open(options: Partial<SshDoorOptions> = {}): Promise<SshWorkbench> {
  const bench = await SshWorkbench.open(options);
  benches.push(bench);
  return bench;
}
const benches: SshWorkbench[] = [];
after(() => Promise.all(benches.map((bench) => bench.close())));

/** A raw connection, which counts as closed once the server has ended it. */
function knock(
  bench: SshWorkbench,
  localAddress = '127.0.0.1',
): { socket: Socket; closed: Promise<void>; greeted: Promise<boolean> } {
  const socket = createConnection({ host: '127.0.0.1', port: bench.port, localAddress });
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const greeted = Promise.race([once(socket, 'data').then(() => true), closed.then(() => false)]);
  return { socket, closed, greeted };
}

function logIn(bench: SshWorkbench): Promise<Client> {
  const privateKey = readFileSync(bench.path('alice'));
  return connect({ port: bench.port, username: 'alice', privateKey });
}

const isWell = async (bench: SshWorkbench) => assert.equal((await bench.ssh('alice', 'alice', [])).code, 0);

describe('before the login', { concurrency: false }, () => {
  test('threat 20: who does not log in is cut off after the grace time', async () => {
    const bench = await open({ config: { ...config, ssh_grace_time: 300 } });
    const silent = knock(bench);
    const introduced = knock(bench);
    introduced.socket.write('SSH-2.0-slow\r\n');
    const offering = knock(bench);
    offering.socket.write(Buffer.concat([Buffer.from('SSH-2.0-slow\r\n'), Buffer.from([0, 0])]));
    await Promise.all([silent.closed, introduced.closed, offering.closed]);
    await isWell(bench);
  });

  test('threat 20: a connection that has logged in is not', async () => {
    const bench = await open({ config: { ...config, ssh_grace_time: 400 } });
    const client = await logIn(bench);
    const silent = knock(bench);
    await silent.closed;
    assert.equal((await readAll(await exec(client, 'x'))).code, 0);
    client.end();
  });

  test('threat 20: two hundred half-open connections of others keep nobody out', async () => {
    const bench = await open({ config: { ...config, ssh_startups: 60 } });
    const all = Array.from({ length: 200 }, (_, index) => knock(bench, `127.0.0.${2 + (index % 5)}`));
    await Promise.all(all.map(({ greeted }) => greeted));
    await isWell(bench);
    const left = all.filter(({ socket }) => !socket.destroyed && socket.readyState === 'open').length;
    assert.ok(left <= 60, `${left} are open`);
    for (const { socket } of all) socket.destroy();
  });

  test('threat 20: one address has its own number of connections, and gets them back', async () => {
    const bench = await open({ config: { ...config, ssh_per_address: 3 } });
    const three = [knock(bench), knock(bench), knock(bench)];
    for (const { greeted } of three) assert.equal(await greeted, true);
    const fourth = knock(bench);
    assert.equal(await fourth.greeted, false);
    assert.equal(await knock(bench, '127.0.0.2').greeted, true, 'another address has its own');
    for (const { socket, closed } of three) {
      socket.destroy();
      await closed;
    }
    for (let tries = 0; (await bench.ssh('alice', 'alice', ['x'])).code !== 0; tries += 1)
      assert.ok(tries < 20);
  });

  for (const [name, bytes] of [
    ['an endless line', Buffer.alloc(2 * MiB, 'A')],
    ['an endless introduction', Buffer.concat([Buffer.from('SSH-2.0-'), Buffer.alloc(2 * MiB, 'A')])],
    ['many lines', Buffer.from('hello\r\n'.repeat(5000))],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['the wrong version', Buffer.from('SSH-1.5-old\r\n')],
    ['an introduction and noise', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), randomBytes(MiB)])],
    ['a packet of 4 GiB', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(70_000, 255)])],
    ['an empty packet', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(70_000)])],
  ] as const) {
    test(`threat 20: ${name} ends that connection and no other`, async () => {
      const bench = benches[0] ?? (await open());
      const other = await logIn(bench);
      const { socket, closed } = knock(bench);
      socket.write(bytes);
      await closed;
      assert.equal((await readAll(await exec(other, 'x'))).code, 0);
      other.end();
    });
  }

  test('threat 19: nothing weak is offered, and the key exchange is strict', async () => {
    const bench = await open();
    const { socket } = knock(bench);
    socket.write('SSH-2.0-x\r\n');
    let text = '';
    while (!text.includes('hmac-sha2-512')) text += String((await once(socket, 'data'))[0]);
    socket.destroy();
    assert.match(text, /^SSH-2\.0-toolforge-push\r\n/, 'no version is told');
    assert.match(text, /kex-strict-s-v00@openssh\.com/);
    assert.doesNotMatch(text, /sha1|md5|cbc|arcfour|3des|group1-|group14|zlib|ssh-rsa|ssh-dss|umac-64/);
  });

  for (const option of [
    'Ciphers=aes128-cbc',
    'MACs=hmac-sha1',
    'KexAlgorithms=diffie-hellman-group14-sha1',
    'HostKeyAlgorithms=ssh-rsa',
  ]) {
    test(`threat 19: a client that knows only ${option} is refused`, async () => {
      const bench = benches[0] ?? (await open());
      // A cipher with its own authentication needs no MAC.
      const more = option.startsWith('MACs') ? ['-o', 'Ciphers=aes128-ctr', '-o', option] : ['-o', option];
      assert.match(
        (await bench.ssh('alice', 'alice', ['x'], more)).stderr,
        /no matching|Unable to negotiate/,
      );
    });
  }
});

describe('after the login', { concurrency: false }, () => {
  test('threat 21: a connection with nothing to do is ended', async () => {
    const bench = await open({ idleMs: 200 });
    const client = await logIn(bench);
    await once(client, 'close');
  });

  test('threat 21: a client that does not read holds the command back, and loses nothing', async () => {
    const bench = await open();
    let written = 0;
    const pieces = Array.from({ length: 16 }, () => randomBytes(MiB / 4));
    const expected = createHash('sha256');
    for (let round = 0; round < 16; round += 1) for (const piece of pieces) expected.update(piece);
    bench.command = async ({ out, err }) => {
      for (let round = 0; round < 16; round += 1) {
        for (const piece of pieces) {
          await out(piece as unknown as string);
          written += piece.length;
        }
      }
      await err('done\n');
      return 0;
    };
    const client = await logIn(bench);
    const channel = await exec(client, 'x');
    channel.pause();
    await quiet(() => written);
    assert.ok(written < 8 * MiB, `${written} bytes were taken from the command`);
    const { stdout, stderr, code } = await readAll(resumed(channel));
    assert.equal(stdout.length, 64 * MiB);
    assert.equal(createHash('sha256').update(stdout).digest('hex'), expected.digest('hex'));
    assert.deepEqual([stderr.toString(), code], ['done\n', 0]);
    client.end();
  });

  test('threat 21: standard error after a full window does not corrupt standard output', async () => {
    const bench = await open();
    const text = randomBytes(5_000_000).toString('latin1');
    const warning = `${'w'.repeat(99)}\n`.repeat(100);
    bench.command = async ({ out, err }) => {
      void out(Buffer.from(text, 'latin1') as unknown as string);
      void err(warning);
      await out('end');
      return 5;
    };
    const client = await logIn(bench);
    const channel = await exec(client, 'x');
    const { stdout, stderr, code } = await readAll(channel);
    assert.equal(stdout.length, 5_000_003);
    assert.ok(stdout.equals(Buffer.concat([Buffer.from(text, 'latin1'), Buffer.from('end')])));
    assert.deepEqual([stderr.toString(), code], [warning, 5]);
    client.end();
  });

  test('threat 21: a window of 4 GiB does not fill the server’s memory', async () => {
    const bench = await open();
    let written = 0;
    bench.command = async ({ out, signal }) => {
      const piece = Buffer.alloc(64 * 1024, 'x') as unknown as string;
      while (!signal.aborted && written < 512 * MiB) {
        await out(piece);
        written += piece.length;
      }
      return 0;
    };
    const client = await logIn(bench);
    const channel = await exec(client, 'x');
    const inner = client as unknown as {
      _sock: Socket;
      _protocol: { channelWindowAdjust(id: number, bytes: number): void };
    };
    inner._protocol.channelWindowAdjust(
      (channel as unknown as { outgoing: { id: number } }).outgoing.id,
      2 ** 32 - 4 * MiB,
    );
    inner._sock.pause();
    await quiet(() => written);
    assert.ok(written < 32 * MiB, `${written} bytes were taken, most of them by the kernel`);
    inner._sock.destroy();
  });

  test('threat 21: a client that sends more than its window is cut off', async () => {
    const bench = await open();
    const ended = Promise.withResolvers<void>();
    bench.command = async ({ signal }) => {
      await once(signal, 'abort');
      ended.resolve();
      return 0;
    };
    const client = await logIn(bench);
    const channel = await exec(client, 'x');
    const { outgoing } = channel as unknown as { outgoing: { window: number; packetSize: number } };
    // ssh2 drops what comes when the window is exactly zero, which odd packets step over.
    Object.assign(outgoing, { window: 2 ** 31, packetSize: 30_001 });
    channel.write(Buffer.alloc(64 * MiB));
    await ended.promise;
    await bench.waitForLog('ssh client floods');
    await isWell(bench);
  });

  test('threat 21: who reads nothing for too long is gone', async () => {
    const bench = await open({ stallMs: 300 });
    const ended = Promise.withResolvers<void>();
    bench.command = async ({ out, signal }) => {
      while (!signal.aborted) await out('x'.repeat(65_536));
      ended.resolve();
      return 0;
    };
    const client = await logIn(bench);
    (await exec(client, 'x')).pause();
    await ended.promise;
    client.end();
  });

  test('threat 21: who waits for a quiet command is not', async () => {
    const bench = await open({ stallMs: 100 });
    const gate = Promise.withResolvers<void>();
    bench.command = async ({ signal }) => {
      await gate.promise;
      return signal.aborted ? 1 : 0;
    };
    const client = await logIn(bench);
    const end = readAll(await exec(client, 'logs -f hello'));
    await new Promise((resolve) => setTimeout(resolve, 500));
    gate.resolve();
    assert.equal((await end).code, 0);
    client.end();
  });

  test('threat 23: a malformed packet after the login ends that connection and no other', async () => {
    const bench = await open();
    const [bad, good] = [await logIn(bench), await logIn(bench)];
    bad.on('error', () => {});
    (bad as unknown as { _sock: Socket })._sock.write(randomBytes(100_000));
    await new Promise((resolve) => bad.once('close', resolve));
    assert.equal((await readAll(await exec(good, 'x'))).code, 0);
    good.end();
  });
});

describe('closing', { concurrency: false }, () => {
  test('what runs may end, and nothing new begins', async () => {
    const bench = await open({ drainMs: 20_000 });
    const [started, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    bench.command = async ({ out }) => {
      started.resolve();
      await gate.promise;
      await out('whole');
      return 4;
    };
    const client = await logIn(bench);
    const end = readAll(await exec(client, 'x'));
    await started.promise;
    const closing = bench.close();
    await assert.rejects(exec(client, 'x'), /Channel open failure/);
    await assert.rejects(logIn(bench));
    gate.resolve();
    const { stdout, code } = await end;
    assert.deepEqual([stdout.toString(), code], ['whole', 4]);
    await closing;
  });

  test('what does not end is ended', async () => {
    const bench = await open({ drainMs: 100 });
    const started = Promise.withResolvers<void>();
    bench.command = async ({ signal }) => {
      started.resolve();
      await once(signal, 'abort');
      return 0;
    };
    const client = await logIn(bench);
    await exec(client, 'logs -f hello');
    await started.promise;
    await bench.close();
  });

  test('an address that is taken is refused with what to set', async () => {
    const bench = await open();
    await assert.rejects(
      SshWorkbench.open({ config: { ...config, ssh: { host: '127.0.0.1', port: bench.port } } }),
      {
        name: 'DeployError',
        code: 'ADDRESS_IN_USE',
      },
    );
  });
});

/** Waits until a count has stopped for 300 ms. */
async function quiet(count: () => number): Promise<void> {
  const limit = AbortSignal.timeout(20_000);
  let [last, since] = [-1, performance.now()];
  while (performance.now() - since < 300) {
    assert.ok(!limit.aborted, 'it went on and on');
    if (count() !== last) [last, since] = [count(), performance.now()];
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function resumed(channel: ClientChannel): ClientChannel {
  channel.resume();
  return channel;
}
