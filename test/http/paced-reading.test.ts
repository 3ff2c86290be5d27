import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readingTime } from '../../src/core/fair-share/reading-time.ts';
import { requestTime } from '../../src/core/fair-share/request-time.ts';
import type { Gateway } from '../../src/run/runtime.ts';
import { type DoorOverrides, openDoor } from '../support/http/http-door.ts';
import { collect } from '../support/http/http-raw.ts';

type Serve = (request: IncomingMessage, response: ServerResponse) => unknown;

interface Client {
  readonly config?: DoorOverrides['config'];
  /** The address of the client, on this machine. */
  readonly address?: string;
}

async function openTool(
  context: TestContext,
  serve: Serve,
  { config = {}, address = '127.0.0.1' }: Client = {},
) {
  const gateway: Gateway = {
    toolOf: () => 'one',
    serve: (_tool, request, response) => void serve(request, response),
    upgrade: (_tool, _request, socket, head) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
      socket.write(head);
      socket.pipe(socket);
    },
  };
  const { port } = await openDoor(context, { gateway, config });
  const socket = connect({ port, host: '127.0.0.1', localAddress: address });
  socket.on('error', () => {});
  context.after(() => socket.destroy());
  return socket;
}

const head = (line: string, fields: string) => `${line} HTTP/1.1\r\nHost: one.localhost\r\n${fields}\r\n`;

test('threat 55: an HTTP body in 50,000 chunks of one byte arrives completely, in fewer than 2,000 pieces', async (context) => {
  const pieces: Buffer[] = [];
  const socket = await openTool(context, (request, response) => {
    request.on('data', (chunk: Buffer) => pieces.push(chunk));
    request.once('end', () => response.end(`${request.trailers['x-last']}`));
  });
  const text = Array.from({ length: 50_000 }, (_, index) => String.fromCharCode(97 + (index % 26))).join('');
  socket.write(head('POST /', 'Transfer-Encoding: chunked\r\nConnection: close\r\n'));
  for (const letter of text) socket.write(`1\r\n${letter}\r\n`);
  socket.write('0\r\nX-Last: yes\r\n\r\n');
  const answer = await collect(socket, 30_000);
  assert.match(answer.text, /^HTTP\/1\.1 200 [\s\S]*yes/);
  assert.equal(Buffer.concat(pieces).toString(), text);
  assert.ok(pieces.length < 2_000, `${pieces.length} pieces`);
});

test('threat 55: a client that sends endless one-byte chunks must wait, but clients of other networks need not', async (context) => {
  const socket = await openTool(context, (request) => request.resume());
  const letters = Buffer.from('1\r\na\r\n'.repeat(10_000));
  socket.write(head('POST /', 'Transfer-Encoding: chunked\r\n'));
  const send = () => {
    while (socket.writable && socket.write(letters));
  };
  socket.on('drain', send);
  send();
  const limit = AbortSignal.timeout(20_000);
  while (readingTime.waitMs('127.0.0.1') === 0) {
    assert.ok(!limit.aborted, 'the sender was never made to wait');
    await sleep(1);
  }
  assert.equal(readingTime.waitMs('192.0.2.1'), 0);
});

test('an HTTP body that nobody reads yet is not received into memory, and later arrives completely', async (context) => {
  const size = 60_000_000;
  let bytesRead = () => 0;
  const socket = await openTool(context, async (request, response) => {
    bytesRead = () => request.socket.bytesRead;
    await sleep(1_500);
    let bytes = 0;
    for await (const chunk of request) bytes += (chunk as Buffer).length;
    response.end(String(bytes));
  });
  socket.write(head('POST /', `Content-Length: ${size}\r\nConnection: close\r\n`));
  socket.write(Buffer.alloc(size, 1));
  await sleep(1_000);
  assert.ok(bytesRead() < 2_000_000, `${bytesRead()} bytes were taken`);
  assert.match((await collect(socket, 30_000)).text, new RegExp(`\\r\\n\\r\\n[\\s\\S]*${size}`));
});

test('HTTP requests in one packet are answered in order, each with its own body', async (context) => {
  const socket = await openTool(context, async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    response.setHeader('Content-Length', body.length).end(body);
  });
  const one = (body: string) => `${head('POST /', `Content-Length: ${body.length}\r\n`)}${body}`;
  const bodies = Array.from({ length: 200 }, (_, index) => `<${index}>${'x'.repeat(index * 7)}`);
  const last = head('POST /', 'Content-Length: 0\r\nConnection: close\r\n');
  socket.write(bodies.map(one).join('') + last);
  const { text } = await collect(socket, 30_000);
  const found = [...text.matchAll(/\r\n\r\n(<\d+>x*)/g)].map(([, body]) => body);
  assert.deepEqual(found, bodies);
});

test('bytes after an HTTP upgrade are passed on unchanged', async (context) => {
  const socket = await openTool(context, () => {});
  const sent = Buffer.from(Array.from({ length: 500_000 }, (_, index) => (index * 7) % 251));
  socket.write(head('GET /', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
  socket.write(sent);
  let got = Buffer.alloc(0);
  const limit = { signal: AbortSignal.timeout(20_000) };
  while (got.length < sent.length + 36)
    got = Buffer.concat([got, ...((await once(socket, 'data', limit)) as [Buffer])]);
  assert.ok(got.subarray(got.indexOf('\r\n\r\n') + 4).equals(sent));
});

/**
 * Sends these requests and one more, and reads all answers.
 *
 * @returns the longest time, in milliseconds, that one more request of the network `address` would have had to wait
 * meanwhile.
 */
async function mostWaitMs(socket: Socket, requests: readonly string[], address: string): Promise<number> {
  socket.write(requests.join('') + head('GET /', 'Connection: close\r\n'));
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, requestTime.waitMs(address));
  }, 20);
  const { text } = await collect(socket, 30_000);
  clearInterval(watch);
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, requests.length + 1);
  return most;
}

test('threat 155: a request with large header fields counts as only one request, so a hundred such requests do not wait', async (context) => {
  const address = '127.0.0.11';
  const socket = await openTool(context, (_request, response) => response.end(), { address });
  const large = head('GET /', `Cookie: ${'x'.repeat(8000)}\r\n`);
  assert.equal(await mostWaitMs(socket, Array(100).fill(large), address), 0);
});

for (const [title, address, proxies, mustWait] of [
  ['of a trusted proxy do not wait, because it serves many clients', '127.0.0.9', ['127.0.0.9'], false],
  ['from 127.0.0.1 do not wait, because a proxy there serves many clients', '127.0.0.1', [], false],
  ['that come too fast from one network must wait', '127.0.0.10', [], true],
] as const)
  test(`threat 155: requests ${title}`, async (context) => {
    const socket = await openTool(context, (_request, response) => response.end(), {
      config: { trusted_proxies: [...proxies] },
      address,
    });
    const before = requestTime.waitMs(address);
    const most = await mostWaitMs(socket, Array(3000).fill(head('GET /', '')), address);
    assert.equal(most > 0, mustWait, `${before} ms at first, ${most} ms at most`);
  });

test('threat 237: in each round of the event loop, the server stops reading from a client once reading from it has taken 2 ms', async (context) => {
  const address = '127.0.0.12';
  let [spentMs, most, isCounting] = [0, 0, false];
  const spend = readingTime.spend.bind(readingTime);
  context.mock.method(readingTime, 'spend', (key: string, work: Parameters<typeof spend>[1]) => {
    spend(key, work);
    if (key !== address) return;
    if (work.bytes > 0) most = Math.max(most, spentMs);
    spentMs += work.spentMs;
    if (!isCounting)
      setImmediate(() => {
        [spentMs, isCounting] = [0, false];
      });
    isCounting = true;
  });
  const socket = await openTool(context, (request) => request.resume().once('end', () => socket.destroy()), {
    address,
  });
  const letters = '1\r\na\r\n'.repeat(5_000);
  socket.write(`${head('POST /', 'Transfer-Encoding: chunked\r\n')}${letters.repeat(5)}0\r\n\r\n`);
  await once(socket, 'close', { signal: AbortSignal.timeout(20_000) });
  assert.ok(most > 0 && most < 2, `the last piece of a round was read after ${most} ms`);
});

/**
 * Sends `bytes` from `address` on `connections` connections, one after the other.
 *
 * @returns `text`: all answers; `turns`: how many requests the server counted for `address`.
 */
async function turnsOf(context: TestContext, address: string, bytes: string, connections: number) {
  let turns = 0;
  const waitMs = requestTime.waitMs.bind(requestTime);
  context.mock.method(requestTime, 'waitMs', (network: string, requests = 1) => {
    if (network === address) turns += requests;
    return waitMs(network, requests);
  });
  const gateway: Gateway = { toolOf: () => 'one', serve: assert.fail, upgrade: assert.fail };
  const { port } = await openDoor(context, { gateway });
  let text = '';
  for (let count = 0; count < connections; count++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: address });
    socket.write(bytes);
    text += (await collect(socket, 30_000)).text;
  }
  return { turns, text };
}

test('threat 238: each request with an unknown Expect header counts towards the request limit of the client’s network (its IPv4 address or IPv6 /64), and is answered 417', async (context) => {
  const requests = head('GET /', 'Expect: x\r\n').repeat(600);
  const bytes = requests + head('GET /', 'Expect: x\r\nConnection: close\r\n');
  const { turns, text } = await turnsOf(context, '127.0.0.13', bytes, 1);
  assert.equal(text.match(/HTTP\/1\.1 417/g)?.length, 601);
  assert.ok(turns >= 601, `${turns} turns`);
});

test('threat 238: each request without a Host header counts towards the request limit of the client’s network (its IPv4 address or IPv6 /64), although Node.js itself answers 400', async (context) => {
  const { turns, text } = await turnsOf(context, '127.0.0.14', 'GET / HTTP/1.1\r\n\r\n'.repeat(40), 10);
  const answers = text.match(/HTTP\/1\.1 400/g)?.length ?? 0;
  assert.ok(answers >= 10 && turns >= 400, `${answers} answers, ${turns} turns`);
});
