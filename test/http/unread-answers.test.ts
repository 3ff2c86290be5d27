import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Gateway } from '../../src/run/runtime.ts';
import { noGateway, openDoor } from '../support/http/http-door.ts';

const LIMITS = { unreadMs: 300, shortUnreadMs: 300 };

/** Connects a client that never reads. */
async function connectDeaf(context: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').pause();
  context.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket.on('error', () => {});
}

test('threat 55: a client that asks for /livez again and again and never reads loses its connection', async (context) => {
  const { port } = await openDoor(context, { limits: LIMITS });
  const socket = await connectDeaf(context, port);
  const requests = 'GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(100);
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
  while (!socket.destroyed) {
    const isFull = !socket.write(requests);
    await Promise.race([closed, isFull ? once(socket, 'drain').catch(() => {}) : sleep(1)]);
  }
});

test('threat 55: a client that does not read the answer of a tool loses its connection', async (context) => {
  const gone = Promise.withResolvers<void>();
  const gateway: Gateway = {
    ...noGateway,
    toolOf: () => 'one',
    serve: (_tool, _request, response) => {
      response.once('close', gone.resolve);
      response.end(Buffer.alloc(50_000_000));
    },
  };
  const { port } = await openDoor(context, { gateway, limits: LIMITS });
  const socket = await connectDeaf(context, port);
  socket.write('GET / HTTP/1.1\r\nHost: one.localhost\r\n\r\n');
  await gone.promise;
});

test('a client that reads slowly gets the whole answer of a tool, also from a tool that is silent for long', async (context) => {
  const gateway: Gateway = {
    ...noGateway,
    toolOf: () => 'one',
    serve: async (_tool, _request, response) => {
      response.write('a');
      await sleep(4 * LIMITS.unreadMs);
      response.end(Buffer.alloc(20_000_000));
    },
  };
  const { port } = await openDoor(context, { gateway, limits: LIMITS });
  const socket = await connectDeaf(context, port);
  socket.write('GET / HTTP/1.1\r\nHost: one.localhost\r\nConnection: close\r\n\r\n');
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    socket.pause();
    setTimeout(() => socket.resume(), 1);
  });
  await once(socket.resume(), 'end');
  assert.ok(bytes > 20_000_000, `${bytes} bytes`);
});
