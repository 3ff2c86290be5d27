import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { requestTime } from '../../../src/core/fair-share/request-time.ts';
import type { Sources } from '../../../src/http/sources/serve-source.ts';
import { createSourceListener, type SourceListener } from '../../../src/http/sources/source-listener.ts';
import { openDoor, PASSWORD } from '../../support/http/http-door.ts';

const token = 'a'.repeat(43);
const log = pino({ level: 'silent' });
const taken: string[] = [];
const sources: Sources = {
  take: (text) => {
    taken.push(text);
    return text === token ? () => Readable.from(['archive']) : null;
  },
};
const doorAt = (host: string, port = 0, source_url = '') =>
  createSourceListener({ config: { sources_listen: { host, port }, source_url }, sources, log });

let door: SourceListener;
let url = '';
before(async () => {
  const made = doorAt('127.0.0.1');
  assert.ok(made !== null);
  door = made;
  url = `http://127.0.0.1:${(await door.listen()).port}`;
});
after(() => door.close());

test('a build gets its source at the address of sources_listen', async () => {
  const answer = await fetch(`${url}/-/source`, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 200);
  assert.equal(await answer.text(), 'archive');
});

const login = `Basic ${Buffer.from(`alice:${PASSWORD}`).toString('base64')}`;
for (const { method = 'GET', path, authorization = login } of [
  { path: '/' },
  { path: '/healthz' },
  { path: '/hello.git' },
  { path: '/hello.git/info/refs?service=git-receive-pack' },
  { path: '/hello.git/info/refs?service=git-upload-pack' },
  { method: 'POST', path: '/hello.git/git-receive-pack' },
  { method: 'POST', path: '/-/command' },
  { method: 'POST', path: '/-/source', authorization: `Bearer ${token}` },
  { path: '/-/source/', authorization: `Bearer ${token}` },
]) {
  test(`at the address of the setting sources_listen, ${method} ${path} is answered 404 without asking for a password`, async () => {
    taken.length = 0;
    const body = method === 'POST' ? { body: 'tools' } : {};
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { Authorization: authorization },
      ...body,
    });
    assert.equal(answer.status, 404);
    assert.equal(answer.headers.get('www-authenticate'), null);
    assert.deepEqual(taken, []);
  });
}

test('at the address of the setting sources_listen, a WebSocket request with the host name of a tool is answered 404', async () => {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(
    'GET / HTTP/1.1\r\nHost: hello.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n',
  );
  let said = '';
  for await (const chunk of socket) said += chunk;
  assert.match(said, /^HTTP\/1\.1 404 /);
});

test('if sources_listen is set, the HTTP server itself gives no build its source', async (context) => {
  const { url: main } = await openDoor(context, { sources: null });
  const answer = await fetch(`${main}/-/source`, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 404);
});

test('a wildcard address in the setting sources_listen is refused unless source_url is set', () => {
  for (const host of ['0.0.0.0', '::']) {
    assert.throws(() => doorAt(host), { code: 'BAD_SETTING', message: /sources_listen .* source_url/ });
    assert.notEqual(doorAt(host, 0, 'http://push.svc:8081'), null);
  }
});

test('if the address in sources_listen is in use, the server refuses to start and names the setting', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  await assert.rejects(doorAt('127.0.0.1', port)?.listen() ?? Promise.resolve(), {
    code: 'CANNOT_LISTEN',
    message: /sources of builds cannot listen .*another program/,
    hint: /TOOLFORGE_PUSH_SOURCES_LISTEN=/,
  });
  other.close();
});

test('without sources_listen, the server opens no port for sources', () => {
  assert.equal(
    createSourceListener({ config: { sources_listen: null, source_url: '' }, sources, log }),
    null,
  );
});

test('threat 200: if a hostile build sends 40 requests at once, each counts against the pace of requests from the build’s network', async (t) => {
  const waitMs = t.mock.method(requestTime, 'waitMs', () => 0);
  // The server does not pace requests from 127.0.0.1, the address of a proxy on the same machine.
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), localAddress: '127.0.0.2' });
  t.after(() => socket.destroy());
  socket.write('GET /x HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(40));
  let answers = '';
  for await (const chunk of socket) {
    answers += chunk;
    if (answers.split('HTTP/1.1 404').length > 40) break;
  }
  const turns = waitMs.mock.calls.map(({ arguments: [network, count = 1] }) => {
    assert.equal(network, '127.0.0.2');
    return count;
  });
  assert.ok(turns.reduce((sum, count) => sum + count, 0) >= 40, turns.join());
});
