import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rename } from 'node:fs/promises';
import { Agent, request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { createLog } from '../../../src/core/log/log.ts';
import { alarmIfOver } from '../../../src/http/listener/listener.ts';
import type { Gateway } from '../../../src/run/runtime.ts';
import { HeldConnections } from '../../support/hostile/connections.ts';
import { basic, makeCommit, noGateway, openDoor, runGit } from '../../support/http/http-door.ts';
import { collect, sendRaw } from '../../support/http/http-raw.ts';

const RECEIVE = 'application/x-git-receive-pack-request';

for (const { name, text } of [
  {
    name: 'Content-Length and Transfer-Encoding',
    text: 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  },
  { name: 'two lengths', text: 'Content-Length: 4\r\nContent-Length: 5\r\n\r\n0000' },
  { name: 'a length that is not a number', text: 'Content-Length: +4\r\n\r\n0000' },
  {
    name: 'a last transfer encoding that is not chunked',
    text: 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
  },
  { name: 'a bad chunk size', text: 'Transfer-Encoding: chunked\r\n\r\nxyz\r\n0000\r\n0\r\n\r\n' },
  {
    name: 'a chunk that is longer than its size',
    text: 'Transfer-Encoding: chunked\r\n\r\n2\r\n0000\r\n0\r\n\r\n',
  },
  { name: 'a folded header', text: 'X-Folded: a\r\n b\r\nContent-Length: 4\r\n\r\n0000' },
  { name: 'a space before the colon', text: 'Content-Length : 4\r\n\r\n0000' },
  { name: 'a bare line feed', text: 'X-Line: a\nContent-Length: 4\r\n\r\n0000' },
]) {
  test(`threat 24: an HTTP request with ${name} is answered 400`, async (context) => {
    const door = await openDoor(context);
    const head = `POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Type: ${RECEIVE}\r\n`;
    const answer = await sendRaw(door.port, [head + text]);
    assert.match(answer.text, /^HTTP\/1\.1 400 /);
    assert.ok(answer.isClosed);
    assert.equal((await fetch(`${door.url}/healthz`)).status, 200);
  });
}

test('an HTTP header that is too long is answered 431', async (context) => {
  const door = await openDoor(context);
  const answer = await sendRaw(door.port, [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`]);
  assert.match(answer.text, /^HTTP\/1\.1 431 /);
});

test('threat 26: an HTTP connection whose headers arrive too slowly is closed', async (context) => {
  const door = await openDoor(context, { limits: { headersMs: 200 } });
  const answer = await sendRaw(door.port, ['GET / HTTP/1.1\r\n', ...'Host: x'.repeat(4)], { pauseMs: 50 });
  assert.ok(answer.isClosed);
  assert.match(answer.text, /^HTTP\/1\.1 408 /);
});

test('threat 26: an HTTP connection whose request body stops is closed; a slow body is accepted', async (context) => {
  const door = await openDoor(context, { limits: { bodyIdleMs: 400 } });
  const head = `POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${basic()}\r\nContent-Type: ${RECEIVE}\r\n`;
  const still = await sendRaw(door.port, [`${head}Content-Length: 100\r\n\r\n0000`], { limitMs: 5_000 });
  assert.ok(still.isClosed);
  assert.equal(still.text, '');
  // A byte every 100 ms: the body takes 1.2 s, three times as long as a body may pause.
  const slow = await sendRaw(door.port, [`${head}Content-Length: 12\r\n\r\n`, ...'000000000000'], {
    pauseMs: 100,
  });
  assert.match(slow.text, /^HTTP\/1\.1 /);
  assert.equal(door.packs.closed, door.packs.sessions.length);
});

test('threat 26: an HTTP client that continues to send after its request was refused is disconnected', async (context) => {
  const door = await openDoor(context, { limits: { lingerMs: 300 } });
  const head = `POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n`;
  const socket = connect(door.port, '127.0.0.1');
  socket.write(head);
  const answer = collect(socket, 5_000);
  const drip = setInterval(() => socket.write('0'), 20);
  const { text, isClosed } = await answer;
  clearInterval(drip);
  assert.match(text, /^HTTP\/1\.1 401 [\s\S]*Log in with/);
  assert.ok(isClosed);
});

test('a client that expects 100-continue gets 100 Continue only after its login', async (context) => {
  const door = await openDoor(context);
  const head = (authorization: string) =>
    `POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${authorization}Content-Type: ${RECEIVE}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`;
  const anonymous = await sendRaw(door.port, [head('')]);
  assert.match(anonymous.text, /^HTTP\/1\.1 401 /);
  const known = connect(door.port, '127.0.0.1');
  known.write(head(`Authorization: ${basic()}\r\n`));
  const [first] = (await once(known, 'data')) as [Buffer];
  assert.equal(first.toString(), 'HTTP/1.1 100 Continue\r\n\r\n');
  const rest = collect(known, 5_000);
  known.write('0000');
  assert.match((await rest).text, /^HTTP\/1\.1 200 /);
});

test('curl with the header Expect: 100-continue gets 200 for a request of a push', async (context) => {
  const door = await openDoor(context);
  const { stdout } = await execa('curl', [
    ...[
      '--silent',
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_code}',
      '--header',
      'Expect: 100-continue',
    ],
    ...[
      '--header',
      `Content-Type: ${RECEIVE}`,
      '--data-binary',
      '0000',
      `${door.loggedIn}/hello.git/git-receive-pack`,
    ],
  ]);
  assert.equal(stdout, '200');
});

test('threat 27: the Host header of a request does not change the addresses that the server’s pages show', async (context) => {
  const door = await openDoor(context);
  for (const target of ['/', 'http://evil.example/']) {
    for (const accept of ['text/html', '*/*']) {
      const answer = await sendRaw(door.port, [
        `GET ${target} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\nAccept: ${accept}\r\n\r\n`,
      ]);
      assert.match(answer.text, /^HTTP\/1\.1 200 /);
      assert.match(answer.text, /https:\/\/USER@push\.example\.org\/TOOL\.git/);
      assert.doesNotMatch(answer.text, /evil/);
    }
  }
});

test('the server’s HTTP answers do not name the software of the server', async (context) => {
  const door = await openDoor(context);
  for (const path of ['/', '/nothing', '/hello.git/info/refs?service=git-upload-pack']) {
    const answer = await fetch(door.url + path);
    assert.equal(answer.headers.get('server'), null);
    assert.equal(answer.headers.get('x-powered-by'), null);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  }
});

for (const question of ['ready', 'health'] as const) {
  test(`/${question}z answers 200, or 503 with the reason if something is wrong; /livez answers 200 in both cases`, async (context) => {
    let complaint: string | null = null;
    const nothing = async () => null;
    const health = { ready: nothing, health: nothing, [question]: async () => complaint };
    const door = await openDoor(context, { health });
    const ask = async (path: string) => {
      const answer = await fetch(door.url + path);
      return [answer.status, await answer.text()];
    };
    assert.deepEqual(await ask(`/${question}z`), [200, 'ok\n']);
    complaint = 'the disk is full';
    assert.deepEqual(await ask(`/${question}z`), [503, 'the disk is full\n']);
    assert.deepEqual(await ask('/livez'), [200, 'ok\n']);
  });
}

test('HTTP requests and upgrades for a tool’s host go to the tool, whatever their path', async (context) => {
  const seen: string[] = [];
  const gateway: Gateway = {
    toolOf: (host) => /^(\w+)\.localhost/.exec(host ?? '')?.[1] ?? null,
    serve: (tool, request, response) => {
      seen.push(`${tool} ${request.method} ${request.url} ${request.headers['x-forwarded-for']}`);
      request.resume().on('end', () => response.end('from the tool'));
    },
    upgrade: (tool, request, socket) => {
      seen.push(`${tool} upgrade ${request.url}`);
      socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    },
  };
  const door = await openDoor(context, { gateway });
  const close = 'Connection: close\r\n';
  const path = '/hello.git/info/refs?service=git-receive-pack';
  const get = await sendRaw(door.port, [
    `GET ${path} HTTP/1.1\r\nHost: wiki.localhost:80\r\nX-Forwarded-For: 1.1.1.1\r\n${close}\r\n`,
  ]);
  assert.match(get.text, /^HTTP\/1\.1 200 [\s\S]*from the tool/);
  const post = await sendRaw(door.port, [
    `POST / HTTP/1.1\r\nHost: wiki.localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n${close}\r\n`,
    'x',
  ]);
  assert.match(post.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const switched = await sendRaw(door.port, [`GET /ws HTTP/1.1\r\nHost: wiki.localhost\r\n${upgrade}`]);
  assert.match(switched.text, /^HTTP\/1\.1 101 /);
  assert.deepEqual(seen, [`wiki GET ${path} undefined`, 'wiki POST / undefined', 'wiki upgrade /ws']);
  const own = await sendRaw(door.port, [
    `GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n`,
  ]);
  assert.match(own.text, /^HTTP\/1\.1 200 [\s\S]*ok/, 'an offer of HTTP/2 is passed over');
  const offer =
    'GET /h2c HTTP/1.1\r\nHost: wiki.localhost\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n';
  await sendRaw(door.port, [offer]);
  assert.match(
    seen.at(-1) ?? '',
    /^wiki GET \/h2c /,
    'the offer of HTTP/2 was not passed to the tool as an ordinary request',
  );
});

test('an upgraded HTTP connection does not delay the stop of the server', {
  timeout: 10_000,
}, async (context) => {
  const gateway: Gateway = {
    ...noGateway,
    toolOf: () => 'wiki',
    upgrade: (_tool, _request, socket) => void socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'),
  };
  const door = await openDoor(context, { gateway, limits: { drainMs: 50 } });
  const socket = connect(door.port, '127.0.0.1');
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  await once(socket, 'data');
  const closed = once(socket, 'close');
  await door.close();
  await closed;
});

test('an error while serving a tool’s request ends only the connection of this request', async (context) => {
  const gateway: Gateway = { ...noGateway, toolOf: (host) => (host === 'wiki' ? 'wiki' : null) };
  const door = await openDoor(context, { gateway });
  for (const upgrade of ['', 'Connection: Upgrade\r\nUpgrade: websocket\r\n']) {
    const answer = await sendRaw(door.port, [`GET / HTTP/1.1\r\nHost: wiki\r\n${upgrade}\r\n`]);
    assert.deepEqual(answer, { text: '', isClosed: true });
  }
  assert.equal((await fetch(`${door.url}/healthz`)).status, 200);
  assert.equal(door.log.filter((line) => line.includes('"level":"error"')).length, 2);
});

test('if the HTTP port is in use, the server does not start, and the error is CANNOT_LISTEN', async (context) => {
  const door = await openDoor(context);
  const http = { host: '127.0.0.1', port: door.port };
  await assert.rejects(openDoor(context, { config: { http } }), { code: 'CANNOT_LISTEN' });
});

test('threat 31: the server refuses to listen for plain HTTP on a public address', async (context) => {
  const config = { http: { host: '0.0.0.0', port: 0 } };
  await assert.rejects(openDoor(context, { config }), { code: 'PLAIN_HTTP' });
});

async function makeCertificate(folder: string, name: string): Promise<{ certificate: string; key: string }> {
  const certificate = join(folder, `${name}.crt`);
  const key = join(folder, `${name}.key`);
  await execa('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...[
      '-subj',
      `/CN=${name}`,
      '-addext',
      'subjectAltName=IP:127.0.0.1',
      '-keyout',
      key,
      '-out',
      certificate,
    ],
  ]);
  return { certificate, key };
}

test('git can push over TLS beside 100 connections that never begin TLS, and a new certificate is used without a restart', async (context) => {
  const first = await openDoor(context);
  const { certificate, key } = await makeCertificate(first.root, 'one');
  const door = await openDoor(context, {
    config: { tls_certificate: certificate, tls_key: key },
    limits: { tlsCheckMs: 30, connections: 60, toolRequests: 30 },
  });
  // These connections never begin TLS.
  using held = new HeldConnections(door.port);
  await held.open(100, { address: '127.0.0.9' });
  const work = await makeCommit(door.root, { 'big.bin': randomBytes(2_000_000) });
  const url = door.loggedIn.replace('http:', 'https:');
  const push = await runGit(work, [
    '-c',
    `http.sslCAInfo=${certificate}`,
    'push',
    `${url}/hello.git`,
    'main',
  ]);
  assert.equal(push.exitCode, 0, String(push.all));
  assert.equal(held.closed, 70);

  const nameNow = () =>
    new Promise<string>((resolve, reject) => {
      const agent = new Agent({ maxCachedSessions: 0 });
      const options = {
        port: door.port,
        host: '127.0.0.1',
        path: '/healthz',
        rejectUnauthorized: false,
        agent,
      };
      const request = httpsRequest(options, (answer) => {
        const { socket } = answer;
        const name =
          'getPeerCertificate' in socket
            ? (socket as import('node:tls').TLSSocket).getPeerCertificate().subject.CN
            : '';
        answer.resume().on('end', () => resolve(String(name)));
      });
      request.on('error', reject).end();
    });
  assert.equal(await nameNow(), 'one');
  const second = await makeCertificate(first.root, 'two');
  assert.notEqual(await readFile(second.key, 'utf8'), await readFile(key, 'utf8'));
  await rename(second.key, key);
  await rename(second.certificate, certificate);
  const deadline = performance.now() + 5_000;
  while ((await nameNow()) !== 'two') assert.ok(performance.now() < deadline, 'still the old certificate');
});

test('an expired certificate is logged as an alarm once, and so is the end of the alarm', async (context) => {
  const { root } = await openDoor(context);
  const tls = await makeCertificate(root, 'old');
  const lines: { level: string; msg: string }[] = [];
  const log = createLog('info', { write: (text) => void lines.push(JSON.parse(text)) });
  const day = 24 * 60 * 60_000;
  alarmIfOver(tls, log);
  assert.deepEqual(lines, []);
  for (const days of [3, 3.001]) alarmIfOver(tls, log, Date.now() + days * day);
  alarmIfOver(tls, log);
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [
      ['error', 'tls certificate has expired'],
      ['info', 'trouble is over'],
    ],
  );
});
