import assert from 'node:assert/strict';
import { type EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Gateway } from '../../src/run/runtime.ts';
import { noGateway, openDoor } from '../support/http/http-door.ts';

const UPGRADE =
  'GET / HTTP/1.1\r\nHost: one.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n';
const GET = 'GET / HTTP/1.1\r\nHost: one.localhost\r\n\r\n';

/**
 * A gateway whose tools read nothing from a WebSocket, and send `answer` bytes to every request and WebSocket. `open`
 * has the names of the tools that have a connection.
 */
function gatewayOf(answer: number): Gateway & { readonly open: Set<string> } {
  const open = new Set<string>();
  const count = (tool: string, connection: EventEmitter): void => {
    open.add(tool);
    connection.once('close', () => open.delete(tool));
  };
  return {
    ...noGateway,
    open,
    toolOf: (host) => host?.split('.')[0] ?? null,
    serve: (tool, _request, response) => {
      count(tool, response);
      response.end(Buffer.alloc(answer));
    },
    upgrade: (tool, _request, socket) => {
      count(tool, socket);
      socket.pause();
      socket.write(Buffer.concat([Buffer.from('HTTP/1.1 101 S\r\n\r\n'), Buffer.alloc(answer)]));
    },
  };
}

/** Opens a connection that sends `first`, then `more` bytes, and reads nothing. */
async function connectDeaf(context: TestContext, port: number, { first = UPGRADE, more = 0 }): Promise<void> {
  const socket = connect(port, '127.0.0.1').pause();
  context.after(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(first);
  if (more > 0) socket.write(Buffer.alloc(more));
}

for (const [name, answer, more] of [
  ['a tool does not read', 0, 20_000_000],
  ['the client does not read', 20_000_000, 0],
] as const) {
  test(`threat 239: a WebSocket ends if, for longer than the limit, ${name} its bytes`, async (context) => {
    const gateway = gatewayOf(answer);
    const { port } = await openDoor(context, { gateway, limits: { unreadMs: 500 } });
    await connectDeaf(context, port, { more });
    while (!gateway.open.has('one')) await sleep(20);
    while (gateway.open.has('one')) await sleep(20);
  });
}

test('a WebSocket stays open if no bytes wait to be read, or if its bytes are read slowly', async (context) => {
  const plain = gatewayOf(0);
  const gateway: Gateway = {
    ...plain,
    upgrade: (tool, request, socket, head) => {
      plain.upgrade(tool, request, socket, head);
      socket.on('data', () => {
        if (tool !== 'slow') return;
        socket.pause();
        setTimeout(() => socket.resume(), 5);
      });
      socket.resume();
    },
  };
  const { port } = await openDoor(context, {
    gateway,
    limits: { unreadMs: 500 },
    isTcpMemoryScarce: () => true,
  });
  await connectDeaf(context, port, {});
  await connectDeaf(context, port, { first: UPGRADE.replace('one', 'slow'), more: 20_000_000 });
  await sleep(1_500);
  assert.deepEqual([...plain.open], ['one', 'slow']);
});

for (const [name, first, answer, more] of [
  ['WebSockets whose bytes their tool does not read', UPGRADE, 0, 20_000_000],
  ['WebSockets whose bytes their client does not read', UPGRADE, 8_000_000, 0],
  ['requests whose answers their client does not read', GET, 8_000_000, 0],
] as const) {
  test(`threat 239: while the kernel has little memory for connections, an address loses its 25 ${name}, and another address keeps its only one`, async (context) => {
    const config = { trusted_proxies: ['127.0.0.1'] };
    let isScarce = false;
    const gateway = gatewayOf(answer);
    const { port } = await openDoor(context, { gateway, config, isTcpMemoryScarce: () => isScarce });
    const ask = (address: string, tool: string) => {
      const head = first.replace('\r\n\r\n', `\r\nX-Forwarded-For: ${address}\r\n\r\n`).replace('one', tool);
      return connectDeaf(context, port, { first: head, more });
    };
    for (let count = 0; count < 25; count += 1) await ask('192.0.2.1', `t${count}`);
    await ask('192.0.2.2', 'other');
    while (gateway.open.size < 26) await sleep(20);
    // Wait for two checks of the server.
    await sleep(600);
    assert.equal(gateway.open.size, 26);
    isScarce = true;
    while (gateway.open.size > 1) await sleep(20);
    assert.deepEqual([...gateway.open], ['other']);
  });
}
