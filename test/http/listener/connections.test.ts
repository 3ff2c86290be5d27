import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Gateway } from '../../../src/run/runtime.ts';
import { HeldConnections, requestTo } from '../../support/hostile/connections.ts';
import { type DoorOverrides, openDoor } from '../../support/http/http-door.ts';
import { collect } from '../../support/http/http-raw.ts';

const LIMITS = { connections: 40, toolRequests: 30, drainMs: 50 };
/**
 * How many requests in progress one tool may have with LIMITS. The server accepts a request of a tool only while the
 * tool has at most half as many as there are free places: 10, when 20 of 30 are free.
 */
const SHARE_OF_TOOL = 10;

/** Tools that never answer, except `kind`, which answers at once. */
class SilentTools implements Gateway {
  readonly waiting: ServerResponse[] = [];
  upgraded = 0;

  toolOf(host: string | undefined): string | null {
    return /^(\w+)\.localhost/.exec(host ?? '')?.[1] ?? null;
  }

  serve(tool: string, _request: unknown, response: ServerResponse): void {
    if (tool === 'kind') response.end('kind');
    else this.waiting.push(response);
  }

  upgrade(_tool: string, _request: unknown, socket: { write(text: string): unknown }): void {
    this.upgraded += 1;
    socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
  }
}

async function openDoors(context: TestContext, overrides: DoorOverrides = {}) {
  const tools = new SilentTools();
  const door = await openDoor(context, { gateway: tools, limits: LIMITS, ...overrides });
  const held = new HeldConnections(door.port);
  context.after(() => held[Symbol.dispose]());
  const status = async (host: string, { address = '127.0.0.1', path = '/', fields = '' } = {}) => {
    const socket = connect({ port: door.port, host: '127.0.0.1', localAddress: address });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${fields}\r\n`);
    const { text } = await collect(socket, 2_000);
    return Number(/^HTTP\/1\.1 (\d+) /.exec(text)?.[1] ?? 0);
  };
  return { door, tools, held, status };
}

async function until(check: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 5_000;
  while (!check()) {
    assert.ok(performance.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const refusedOf = (held: HeldConnections) =>
  held.answers.filter((answer) => answer.startsWith('HTTP/1.1 503 '));

test('threat 216: an HTTP or WebSocket request with more than 200 header fields is refused, so that unanswered requests take little memory', async (context) => {
  const { status, tools, held } = await openDoors(context);
  const many = (count: number) => Array.from({ length: count }, (_, index) => `X-${index}: 1\r\n`).join('');
  assert.equal(await status('kind.localhost', { fields: many(198) }), 200);
  assert.equal(await status('kind.localhost', { fields: many(199) }), 431);
  const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\n${many(199)}`;
  await held.open(1, { text: `GET / HTTP/1.1\r\nHost: slow.localhost\r\n${fields}\r\n` });
  assert.equal(await status('kind.localhost'), 200);
  assert.equal(tools.upgraded, 0);
});

test('requests that a tool does not answer do not keep out requests to other tools, /healthz and git', async (context) => {
  const { held, status, tools } = await openDoors(context);
  await held.open(25, { text: requestTo('slow.localhost', '/') });
  await until(() => refusedOf(held).length === 25 - SHARE_OF_TOOL, 'the others were not refused');
  const [answer = ''] = refusedOf(held);
  assert.match(answer, /\r\nretry-after: 5\r\n[\s\S]*The tool slow has too many requests under way\.\n/i);
  assert.equal(await status('slow.localhost'), 503);
  assert.equal(await status('kind.localhost'), 200);
  assert.equal(await status('localhost', { path: '/healthz' }), 200);
  assert.equal(await status('localhost', { path: '/hello.git/info/refs?service=git-upload-pack' }), 401);

  for (const response of tools.waiting.splice(0)) response.end('at last');
  await until(() => held.answers.filter((text) => text.startsWith('HTTP/1.1 200 ')).length > 0, 'no answer');
  const again = status('slow.localhost');
  await until(() => tools.waiting.length === 1, 'the places did not come back');
  tools.waiting[0]?.end();
  assert.equal(await again, 200);
});

test('an address with too many requests to tools gets 503 for more of them; /healthz still answers it, and tools still answer other addresses', async (context) => {
  const { held, status } = await openDoors(context);
  for (const tool of ['one', 'two', 'three', 'four', 'five', 'six']) {
    await held.open(10, { address: '127.0.0.9', text: requestTo(`${tool}.localhost`, '/') });
  }
  assert.equal(await status('kind.localhost', { address: '127.0.0.9' }), 503);
  assert.equal(await status('kind.localhost'), 200);
  assert.equal(await status('localhost', { address: '127.0.0.9', path: '/healthz' }), 200);
});

test('open WebSockets count as requests under way, and a WebSocket above the limit of a tool is refused with the reason', async (context) => {
  const { held, status, tools } = await openDoors(context);
  const fields = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
  await held.open(20, { text: `GET / HTTP/1.1\r\nHost: slow.localhost\r\n${fields}\r\n` });
  await until(() => refusedOf(held).length === 20 - SHARE_OF_TOOL, 'the others were not refused');
  assert.equal(tools.upgraded, SHARE_OF_TOOL);
  assert.match(refusedOf(held)[0] ?? '', /retry-after: 5[\s\S]*The tool slow has too many/i);
  assert.equal(await status('kind.localhost'), 200);
});

test('each pipelined request of a connection counts for the tool’s limit of requests under way', async (context) => {
  const { held, status, tools } = await openDoors(context);
  await held.open(1, { text: requestTo('slow.localhost', '/').repeat(200) });
  await until(() => tools.waiting.length >= SHARE_OF_TOOL, 'the requests did not arrive');
  assert.equal(await status('slow.localhost'), 503);
  assert.equal(tools.waiting.length, SHARE_OF_TOOL);
  held[Symbol.dispose]();
  await until(() => tools.waiting.every(({ destroyed }) => destroyed), 'the requests did not end');
  const again = status('slow.localhost');
  await until(() => tools.waiting.length === SHARE_OF_TOOL + 1, 'the places did not come back');
  tools.waiting.at(-1)?.end();
  assert.equal(await again, 200);
});

test('threat 122: if a client that has pipelined requests before a WebSocket request leaves, its requests no longer count for the tool’s limit', async (context) => {
  const { held, status, tools } = await openDoors(context);
  const upgrade =
    'GET / HTTP/1.1\r\nHost: slow.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  await held.open(1, { text: requestTo('slow.localhost', '/').repeat(SHARE_OF_TOOL - 1) + upgrade });
  await until(() => tools.waiting.length + tools.upgraded === SHARE_OF_TOOL, 'the requests did not arrive');
  held[Symbol.dispose]();
  await until(() => tools.waiting.every(({ destroyed }) => destroyed), 'the requests did not end');
  assert.equal(tools.upgraded, 0);
  const again = status('slow.localhost');
  await until(() => tools.waiting.length === SHARE_OF_TOOL + 1, 'the places did not come back');
  tools.waiting.at(-1)?.end();
  assert.equal(await again, 200);
});

test('threat 124: if the server closes a connection because of a CONNECT request, earlier pipelined requests no longer count for the tool’s limit', async (context) => {
  const { held, status, tools } = await openDoors(context);
  const tunnel = 'CONNECT slow.localhost:80 HTTP/1.1\r\nHost: slow.localhost\r\n\r\n';
  await held.open(1, { text: requestTo('slow.localhost', '/').repeat(SHARE_OF_TOOL) + tunnel });
  await until(() => held.closed === 1, 'the connection stayed open');
  await until(() => tools.waiting.every(({ destroyed }) => destroyed), 'the requests did not end');
  const asked = tools.waiting.length;
  const again = status('slow.localhost');
  await until(() => tools.waiting.length === asked + 1, 'the places did not come back');
  tools.waiting.at(-1)?.end();
  assert.equal(await again, 200);
});

test('if one address opens too many silent HTTP connections, the server closes only silent connections of this address', async (context) => {
  const { held, status, door } = await openDoors(context);
  const kept = connect(door.port, '127.0.0.1');
  kept.write(requestTo('kind.localhost', '/'));
  await once(kept, 'data');
  await held.open(200, { address: '127.0.0.9' });
  await held.open(200, { address: '127.0.0.9', text: 'GET / HTTP/1.1\r\nHost: ' });
  assert.equal(await status('kind.localhost'), 200);
  assert.equal(await status('kind.localhost', { address: '127.0.0.9' }), 200);
  assert.ok(held.closed >= 400 - LIMITS.connections);
  assert.match(held.answers[0] ?? '', /^HTTP\/1\.1 503 [\s\S]*Retry-After: 5/);
  kept.write(requestTo('kind.localhost', '/'));
  const [answer] = (await once(kept, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  kept.destroy();
});

test('silent HTTP connections of 60 addresses do not keep out new connections', async (context) => {
  const { held, status } = await openDoors(context);
  for (let number = 1; number <= 60; number += 1) await held.open(2, { address: `127.0.1.${number}` });
  assert.equal(await status('localhost', { path: '/healthz' }), 200);
  assert.equal(await status('kind.localhost'), 200);
});

test('when too many HTTP connections are open, the server does not close a connection with a request in progress', async (context) => {
  const { held, tools, door } = await openDoors(context);
  const busy = connect(door.port, '127.0.0.1');
  busy.write(requestTo('slow.localhost', '/'));
  await until(() => tools.waiting.length === 1, 'the request did not arrive');
  await held.open(200, { address: '127.0.0.1' });
  tools.waiting[0]?.end('at last');
  const [answer] = (await once(busy, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  busy.destroy();
});

test('clients behind a trusted proxy are limited by their own address, and the proxy’s connections stay open', async (context) => {
  const { held, status, door } = await openDoors(context, { config: { trusted_proxies: ['127.0.0.2'] } });
  const proxy: Socket = connect({ port: door.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
  const via = (tool: string, client: string) =>
    `GET / HTTP/1.1\r\nHost: ${tool}.localhost\r\nX-Forwarded-For: ${client}\r\n\r\n`;
  proxy.write(via('kind', '203.0.113.6'));
  await once(proxy, 'data');
  for (const tool of ['one', 'two', 'three', 'four', 'five', 'six']) {
    await held.open(5, { address: '127.0.0.2', text: via(tool, '203.0.113.5') });
  }
  const fields = (client: string) => `X-Forwarded-For: ${client}\r\n`;
  const address = '127.0.0.2';
  assert.equal(await status('kind.localhost', { address, fields: fields('203.0.113.5') }), 503);
  assert.equal(await status('kind.localhost', { address, fields: fields('203.0.113.6') }), 200);
  await held.open(200, { address: '127.0.0.9' });
  proxy.write(via('kind', '203.0.113.6'));
  const [answer] = (await once(proxy, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  proxy.destroy();
});

test('a request from a trusted proxy without X-Forwarded-For counts for the proxy’s address', async (context) => {
  const { held, status } = await openDoors(context, { config: { trusted_proxies: ['127.0.0.2'] } });
  const address = '127.0.0.2';
  for (const tool of ['one', 'two', 'three', 'four', 'five', 'six']) {
    await held.open(5, { address, text: requestTo(`${tool}.localhost`, '/') });
  }
  assert.equal(await status('kind.localhost', { address }), 503);
  assert.equal(await status('kind.localhost', { address, fields: 'X-Forwarded-For: 203.0.113.6\r\n' }), 200);
  assert.equal(await status('kind.localhost'), 200);
});
