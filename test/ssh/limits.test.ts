import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { after, describe, test } from 'node:test';
import type { Client } from 'ssh2';
import type { SshDoorOptions } from '../../src/ssh/ssh-door.ts';
import { connect, exec, readAll } from '../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

const MiB = 1024 * 1024;
const config = {
  ssh: { host: '127.0.0.1', port: 0 },
  ssh_grace_time: 30_000,
  ssh_startups: 100,
  ssh_per_address: 50,
  ssh_per_person: 50,
};

async function open(options: Partial<SshDoorOptions> = {}): Promise<SshWorkbench> {
  const bench = await SshWorkbench.open(options);
  benches.push(bench);
  return bench;
}
const benches: SshWorkbench[] = [];
after(() => Promise.all(benches.map((bench) => bench.close())));

/** Opens a TCP connection. `closed` resolves when it ends; `greeted` says whether the server sent its version first. */
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

describe('SSH connections before the login', { concurrency: false }, () => {
  test('threat 20: the server disconnects an SSH client that does not log in within ssh_grace_time', async () => {
    const bench = await open({ config: { ...config, ssh_grace_time: 300 } });
    const silent = knock(bench);
    const introduced = knock(bench);
    introduced.socket.write('SSH-2.0-slow\r\n');
    const offering = knock(bench);
    offering.socket.write(Buffer.concat([Buffer.from('SSH-2.0-slow\r\n'), Buffer.from([0, 0])]));
    await Promise.all([silent.closed, introduced.closed, offering.closed]);
    await isWell(bench);
  });

  test('threat 20: an SSH connection that has logged in continues after ssh_grace_time', async () => {
    const bench = await open({ config: { ...config, ssh_grace_time: 400 } });
    const client = await logIn(bench);
    const silent = knock(bench);
    await silent.closed;
    assert.equal((await readAll(await exec(client, 'x'))).code, 0);
    client.end();
  });

  test('threat 20: two hundred SSH connections that do not log in do not keep out a person at another address', async () => {
    const bench = await open({ config: { ...config, ssh_startups: 60 } });
    const all = Array.from({ length: 200 }, (_, index) => knock(bench, `127.0.0.${2 + (index % 5)}`));
    await Promise.all(all.map(({ greeted }) => greeted));
    await isWell(bench);
    const left = all.filter(({ socket }) => !socket.destroyed && socket.readyState === 'open').length;
    assert.ok(left <= 60, `${left} are open`);
    for (const { socket } of all) socket.destroy();
  });

  test('threat 20: if an address has ssh_per_address SSH connections that have not logged in, a new connection replaces its oldest', async () => {
    const bench = await open({ config: { ...config, ssh_per_address: 3 } });
    const other = knock(bench, '127.0.0.2');
    const four = [];
    for (let count = 0; count < 4; count += 1) {
      const one = knock(bench);
      assert.equal(await one.greeted, true);
      four.push(one);
    }
    await four[0]?.closed;
    assert.equal(four.filter(({ socket }) => !socket.destroyed).length, 3);
    assert.equal(await other.greeted, true);
    assert.equal(other.socket.destroyed, false, 'a connection of another address was ended');
  });

  for (const [name, bytes] of [
    ['an endless line', Buffer.alloc(2 * MiB, 'A')],
    ['an endless identification', Buffer.concat([Buffer.from('SSH-2.0-'), Buffer.alloc(2 * MiB, 'A')])],
    ['many lines', Buffer.from('hello\r\n'.repeat(5000))],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['the wrong version', Buffer.from('SSH-1.5-old\r\n')],
    ['an identification and noise', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), randomBytes(MiB)])],
    ['a packet of 4 GiB', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(70_000, 255)])],
    ['an empty packet', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(70_000)])],
  ] as const) {
    test(`threat 20: if an SSH client sends ${name}, only its connection ends`, async () => {
      const bench = benches[0] ?? (await open());
      const other = await logIn(bench);
      const { socket, closed } = knock(bench);
      socket.write(bytes);
      await closed;
      assert.equal((await readAll(await exec(other, 'x'))).code, 0);
      other.end();
    });
  }

  test('threat 19: the SSH server offers no weak algorithm, and its key exchange is strict', async () => {
    const bench = await open();
    const { socket } = knock(bench);
    socket.write('SSH-2.0-x\r\n');
    let text = '';
    while (!text.includes('hmac-sha2-512')) text += String((await once(socket, 'data'))[0]);
    socket.destroy();
    assert.match(text, /^SSH-2\.0-toolforge-push\r\n/, 'the identification has a version');
    assert.match(text, /kex-strict-s-v00@openssh\.com/);
    assert.doesNotMatch(text, /sha1|md5|cbc|arcfour|3des|group1-|group14|zlib|ssh-rsa|ssh-dss|umac-64/);
  });

  for (const option of [
    'Ciphers=aes128-cbc',
    'MACs=hmac-sha1',
    'KexAlgorithms=diffie-hellman-group14-sha1',
    'KexAlgorithms=diffie-hellman-group16-sha512',
    'HostKeyAlgorithms=ssh-rsa',
  ]) {
    test(`threat 19: an SSH client that knows only ${option} is refused`, async () => {
      const bench = benches[0] ?? (await open());
      // The default ciphers need no MAC, because they authenticate by themselves. This cipher needs one.
      const more = option.startsWith('MACs') ? ['-o', 'Ciphers=aes128-ctr', '-o', option] : ['-o', option];
      assert.match(
        (await bench.ssh('alice', 'alice', ['x'], more)).stderr,
        /no matching|Unable to negotiate/,
      );
    });
  }
});
