import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { execa } from 'execa';
import { basic, openDoor, type TestDoor } from '../../support/http/http-door.ts';
import { collect, sendRaw } from '../../support/http/http-raw.ts';
import { timeout } from '../../support/server.ts';

/** An HTTPS server with a certificate of its own. */
async function openTls(context: TestContext, limits = {}): Promise<TestDoor> {
  const folder = await mkdtemp(join(tmpdir(), 'tls-'));
  context.after(() => rm(folder, { recursive: true }));
  const [tls_certificate, tls_key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const subject = ['-subj', '/CN=push.example.org', '-addext', 'subjectAltName=DNS:push.example.org'];
  await execa('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-keyout', tls_key, '-out', tls_certificate, ...subject],
  ]);
  return await openDoor(context, { config: { tls_certificate, tls_key }, limits });
}

/** Asserts that the server answers an ordinary request. */
async function assertAnswers(port: number): Promise<void> {
  const asked = request({
    ...{ host: '127.0.0.1', port, path: '/healthz', rejectUnauthorized: false, agent: false },
    servername: 'push.example.org',
  }).end();
  const [answer] = await once(asked, 'response', { signal: AbortSignal.timeout(10_000) });
  assert.equal(answer.statusCode, 200);
  answer.resume();
}

async function handshake(port: number, options: object = {}): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

test('threat 26: the TLS connection of a silent or slow client is closed if its handshake is not finished in time', async (context) => {
  const door = await openTls(context, { headersMs: 600 });
  const silent = connect(door.port, '127.0.0.1');
  const slow = connect(door.port, '127.0.0.1');
  // The beginning of a ClientHello, byte by byte.
  const bytes = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
  let sent = 0;
  const timer = setInterval(() => slow.write(bytes.subarray(sent, ++sent)), 100);
  context.after(() => clearInterval(timer));
  for (const socket of [silent, slow]) socket.on('error', () => {}).resume();
  // Not `once`, which would treat a reset as a failure.
  const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await Promise.race([
    Promise.all([silent, slow].map(closed)),
    timeout(8_000, 'the connections did not end'),
  ]);
  await assertAnswers(door.port);
});

test('threat 20: 200 TLS connections of one address that never begin their handshake do not keep out other clients', async (context) => {
  const door = await openTls(context, { connections: 40, toolRequests: 30 });
  const held: Socket[] = Array.from({ length: 200 }, () =>
    connect({ port: door.port, host: '127.0.0.1', localAddress: '127.0.0.9' }).on('error', () => {}),
  );
  context.after(() => {
    for (const socket of held) socket.destroy();
  });
  await Promise.all(held.map((socket) => (socket.connecting ? once(socket, 'connect') : null)));
  await assertAnswers(door.port);
});

test('threat 24: plain HTTP, SSH and random bytes at the TLS port get no page and do no harm', async (context) => {
  const door = await openTls(context);
  for (const bytes of [
    `GET / HTTP/1.1\r\nHost: push.example.org\r\nAuthorization: ${basic()}\r\n\r\n`,
    'SSH-2.0-x\r\n',
    Buffer.from([22, 3, 1, 255, 255, ...Array<number>(600).fill(1)]),
    Buffer.from([21, 3, 1, 0, 2, 2, 40]),
    Buffer.from([0x80, 0x2e, 1, 0, 2]),
  ]) {
    const { text, isClosed } = await sendRaw(door.port, [bytes], { limitMs: 3_000 });
    assert.doesNotMatch(text, /HTTP|push\.example/);
    assert.ok(isClosed || text === '');
  }
  await assertAnswers(door.port);
  assert.ok(!door.log.some((line) => line.includes('"level":"error"')), door.log.join('\n'));
});

for (const maxVersion of ['TLSv1', 'TLSv1.1'] as const) {
  test(`threat 19: an HTTPS client that offers at most the version ${maxVersion} is refused`, async (context) => {
    const door = await openTls(context);
    const weak = { minVersion: maxVersion, maxVersion, ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    await assert.rejects(handshake(door.port, weak));
    await assertAnswers(door.port);
  });
}

test('threat 20: a client can renegotiate TLS 1.2 at most three times on a connection', async (context) => {
  const door = await openTls(context);
  const socket = await handshake(door.port, { maxVersion: 'TLSv1.2' });
  context.after(() => socket.destroy());
  socket.on('error', () => {});
  let renewed = 0;
  for (let count = 0; count < 20 && !socket.destroyed; count += 1) {
    socket.renegotiate({}, (error) => {
      if (error === null) renewed += 1;
    });
    await sleep(20);
  }
  await assertAnswers(door.port);
  assert.ok(renewed <= 3, `${renewed}`);
});

for (const servername of ['x'.repeat(255), 'evil.example', 'hello.localhost', 'a..b', '*.push.example.org']) {
  test(`threat 27: with the TLS server name ${servername.slice(0, 20)}, a client gets the ordinary answer or no connection`, async (context) => {
    const door = await openTls(context);
    const socket = await handshake(door.port, { servername }).catch(() => null);
    if (socket !== null) {
      socket.write('GET /healthz HTTP/1.1\r\nHost: push.example.org\r\nConnection: close\r\n\r\n');
      assert.match((await collect(socket, 3_000)).text, /^HTTP\/1\.1 200 /);
    }
    await assertAnswers(door.port);
  });
}

test('threat 24: HTTP/2 is not offered over TLS', async (context) => {
  const door = await openTls(context);
  const socket = await handshake(door.port, { ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'http/1.1');
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.match((await collect(socket, 3_000)).text, /^HTTP\/1\.1 400 /);
});

test('threat 31: a password over TLS logs in', async (context) => {
  const door = await openTls(context);
  const socket = await handshake(door.port);
  const head = `POST /-/command HTTP/1.1\r\nHost: push.example.org\r\nAuthorization: ${basic()}\r\n`;
  // Sends TLS records of one byte each.
  for (const byte of `${head}Connection: close\r\nContent-Length: 8\r\n\r\nps hello`) socket.write(byte);
  assert.match((await collect(socket, 5_000)).text, /^HTTP\/1\.1 200 [\s\S]*alice \["ps","hello"\]/);
});

/**
 * A Python program that prepares 50,000 KeyUpdate records (RFC 8446, 4.6.3) for each of four TLS connections from
 * 127.0.0.9, and then prints a line. When it reads a line, it sends all records.
 */
const KEY_UPDATES = `
import ctypes, ctypes.util, signal, socket, sys, threading
signal.alarm(30)
ssl = ctypes.CDLL(ctypes.util.find_library('ssl'))
crypto = ctypes.CDLL(ctypes.util.find_library('crypto'))
for function in ('TLS_client_method', 'SSL_CTX_new', 'SSL_new'): getattr(ssl, function).restype = ctypes.c_void_p
for function in ('BIO_new', 'BIO_s_mem'): getattr(crypto, function).restype = ctypes.c_void_p
pointer = ctypes.c_void_p
context = pointer(ssl.SSL_CTX_new(pointer(ssl.TLS_client_method())))

def prepare():
    connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])), source_address=('127.0.0.9', 0))
    session = pointer(ssl.SSL_new(context))
    ssl.SSL_set_fd(session, connection.fileno())
    assert ssl.SSL_connect(session) == 1
    memory = pointer(crypto.BIO_new(pointer(crypto.BIO_s_mem())))
    ssl.SSL_set0_wbio(session, memory)
    for _ in range(50_000):
        assert ssl.SSL_key_update(session, 0) == 1 and ssl.SSL_do_handshake(session) == 1
    records = ctypes.create_string_buffer(50_000 * 40)
    size = crypto.BIO_read(memory, records, len(records))
    return connection, records.raw[:size]

def flood(connection, records):
    try: connection.sendall(records)
    except OSError: pass

prepared = [prepare() for _ in range(4)]
print('ready', flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=flood, args=args) for args in prepared]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.stdin.read()
`;

test('threat 262: if a client floods four connections with TLS KeyUpdate records, the server spends less than a third of a processor on them', async (context) => {
  const door = await openTls(context);
  const flood = execa('python3', ['-c', KEY_UPDATES, `${door.port}`], { reject: false });
  context.after(() => flood.kill());
  await once(flood.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
  const [before, startedAt] = [process.cpuUsage(), performance.now()];
  flood.stdin.write('\n');
  await sleep(2_000);
  const { user, system } = process.cpuUsage(before);
  const part = (user + system) / 1_000 / (performance.now() - startedAt);
  await assertAnswers(door.port);
  assert.ok(part < 1 / 3, `${part}`);
});

test('threat 263: the connection of a client that sends a ClientHello of 60,000 bytes ends before the last record of it arrives', async (context) => {
  const door = await openTls(context);
  const socket = connect({ port: door.port, host: '127.0.0.1', localAddress: '127.0.0.9' });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {}).resume();
  // A ClientHello of 60,000 bytes, in records of 10,000 bytes. The last one is never sent.
  const hello = Buffer.concat([Buffer.from([1, 0, 60_000 >> 8, 60_000 & 255, 3, 3]), Buffer.alloc(49_994)]);
  for (let at = 0; at < hello.length; at += 10_000) {
    const head = Buffer.from([22, 3, 1, 10_000 >> 8, 10_000 & 255]);
    socket.write(Buffer.concat([head, hello.subarray(at, at + 10_000)]));
  }
  await Promise.race([closed, timeout(8_000, 'the connection did not end')]);
  await assertAnswers(door.port);
});
