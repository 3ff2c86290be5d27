import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { after, describe, test } from 'node:test';
import type { Client, ClientChannel } from 'ssh2';
import type { SshDoorOptions } from '../../src/ssh/ssh-door.ts';
import { connect, exec, openSession, readAll } from '../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

const MiB = 1024 * 1024;
async function open(options: Partial<SshDoorOptions> = {}): Promise<SshWorkbench> {
  const bench = await SshWorkbench.open(options);
  benches.push(bench);
  return bench;
}
const benches: SshWorkbench[] = [];
after(() => Promise.all(benches.map((bench) => bench.close())));

function logIn(bench: SshWorkbench): Promise<Client> {
  const privateKey = readFileSync(bench.path('alice'));
  return connect({ port: bench.port, username: 'alice', privateKey });
}

const isWell = async (bench: SshWorkbench) => assert.equal((await bench.ssh('alice', 'alice', [])).code, 0);

describe('SSH connections after the login', { concurrency: false }, () => {
  test('threat 21: the server ends an SSH connection on which no session has run for a while', async () => {
    const bench = await open({ idleMs: 1000 });
    const client = await logIn(bench);
    await once(client, 'close');
  });

  test('threat 21: if an SSH client does not read, its command is slowed down, and no output is lost', async () => {
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

  test('threat 21: writing standard error while the client’s window is full does not corrupt standard output', async () => {
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

  test('threat 21: an SSH client with a window of 4 GiB does not fill the server’s memory', async () => {
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

  test('threat 21: the server disconnects an SSH client that ignores its window and sends far more than the server has read', async () => {
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
    // ssh2 drops data if the window is exactly zero; packets of odd sizes skip that value.
    Object.assign(outgoing, { window: 2 ** 31, packetSize: 30_001 });
    channel.write(Buffer.alloc(64 * MiB));
    await ended.promise;
    await bench.waitForLog('ssh connection ended: too many unread bytes are waiting');
    await isWell(bench);
  });

  test('threat 21: ten sessions of one SSH connection may fill their windows although the server has read nothing yet', async () => {
    const bench = await open();
    const gate = Promise.withResolvers<void>();
    bench.command = async ({ input, out }) => {
      await gate.promise;
      let bytes = 0;
      for await (const chunk of input) bytes += chunk.length;
      await out(String(bytes));
      return 0;
    };
    const client = await logIn(bench);
    const { _sock } = client as unknown as { readonly _sock: Socket };
    const channels = await Promise.all(Array.from({ length: 10 }, () => exec(client, 'x')));
    const ends = channels.map(readAll);
    for (const channel of channels) channel.end(Buffer.alloc(5 * MiB));
    await quiet(() => _sock.bytesWritten);
    gate.resolve();
    for (const { stdout } of await Promise.all(ends)) assert.equal(stdout.toString(), String(5 * MiB));
    client.end();
  });

  test('threat 21: the server disconnects an SSH client that reads nothing for too long', async () => {
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

  test('threat 21: the server does not disconnect an SSH client that waits for a quiet command', async () => {
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

  test('threat 21: an SSH client that closes one session five times still gets at most ten sessions at once, and the server forgets the closed session', async () => {
    const bench = await open();
    bench.command = async ({ signal }) => {
      await once(signal, 'abort');
      return 0;
    };
    const client = await logIn(bench);
    const { channel, close } = await openSession(client);
    let isAnswered = false;
    channel.resume().once('close', () => {
      isAnswered = true;
    });
    for (let count = 0; count < 5; count += 1) close();
    for (let count = 0; count < 10; count += 1) await exec(client, 'x');
    await assert.rejects(exec(client, 'x'), /Channel open failure/);
    assert.ok(isAnswered, 'the server keeps the session');
    client.end();
  });

  test('threat 23: a malformed SSH packet after the login ends only its connection', async () => {
    const bench = await open();
    const [bad, good] = [await logIn(bench), await logIn(bench)];
    bad.on('error', () => {});
    (bad as unknown as { _sock: Socket })._sock.write(randomBytes(100_000));
    await new Promise<void>((resolve) => bad.on('close', () => resolve()));
    assert.equal((await readAll(await exec(good, 'x'))).code, 0);
    good.end();
  });
});

describe('start and stop of the SSH server', { concurrency: false }, () => {
  test('when the SSH server closes, running commands may finish, and new commands are refused', async () => {
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

  test('when the SSH server closes, it ends commands that do not finish in time', async () => {
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

  test('if the SSH address is in use, the start fails with CANNOT_LISTEN', async () => {
    const bench = await open();
    const ssh = { host: '127.0.0.1', port: bench.port };
    const config = { ssh, ssh_grace_time: 1000, ssh_startups: 10, ssh_per_address: 10, ssh_per_person: 10 };
    await assert.rejects(SshWorkbench.open({ config }), {
      name: 'DeployError',
      code: 'CANNOT_LISTEN',
    });
  });
});

/** Waits until a count has not changed for 300 ms. */
async function quiet(count: () => number): Promise<void> {
  const limit = AbortSignal.timeout(20_000);
  let [last, since] = [-1, performance.now()];
  while (performance.now() - since < 300) {
    assert.ok(!limit.aborted, 'the count kept changing');
    if (count() !== last) [last, since] = [count(), performance.now()];
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function resumed(channel: ClientChannel): ClientChannel {
  channel.resume();
  return channel;
}
