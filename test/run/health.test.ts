import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { type HealthCheck, type Readiness, untilHealthy } from '../../src/run/health.ts';
import type { SandboxProcess } from '../../src/sandbox/sandbox.ts';

/** A process that never ends and listens on these ports. */
class Listening implements SandboxProcess {
  readonly output = Readable.from([]);
  readonly exited = new Promise<never>(() => {});
  ports: readonly number[];

  constructor(ports: readonly number[]) {
    this.ports = ports;
  }

  terminate(): void {}

  kill(): void {}

  async listeningPorts(): Promise<number[]> {
    return [...this.ports];
  }
}

interface Watched {
  readonly readiness: Readiness;
  readonly seen: readonly string[];
}

async function watch(process: SandboxProcess, change: Partial<HealthCheck>): Promise<Watched> {
  const seen: string[] = [];
  const readiness = await untilHealthy({
    process,
    name: 'web.1',
    outsidePort: 8000,
    insidePort: 8000,
    path: null,
    host: 'hello.localhost',
    timeoutMs: 2000,
    signal: new AbortController().signal,
    onSeen: ({ soFar }) => seen.push(soFar),
    ...change,
  });
  return { readiness, seen };
}

async function withServer(listener: RequestListener, action: (port: number) => Promise<void>): Promise<void> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await action((server.address() as AddressInfo).port);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test('whoever listens on another port only is not waited for until the end of health_time', async () => {
  const limits = { timeoutMs: 60_000, elsewhereMs: 300 };
  const { readiness } = await watch(new Listening([5000]), limits);
  assert.ok(readiness.kind === 'timed-out');
  assert.equal(readiness.waitedMs, 300);
  assert.equal(readiness.seen.message, 'web.1 listens on port 5000, not on PORT (8000)');
});

test('whoever listens on no port, or on another one for a moment, has all of health_time', async () => {
  const process = new Listening([5000]);
  const limits = { timeoutMs: 1200, elsewhereMs: 600 };
  const watching = watch(process, limits);
  setTimeout(() => {
    process.ports = [];
  }, 300);
  const { readiness } = await watching;
  assert.ok(readiness.kind === 'timed-out');
  assert.equal(readiness.waitedMs, 1200);
  assert.equal(readiness.seen.message, 'web.1 never opened a port');
});

test('what stands in the way is told once, and again when it is another thing', async () => {
  let status = 500;
  await withServer(
    (_request, response) => response.writeHead(status).end(),
    async (port) => {
      setTimeout(() => {
        status = 404;
      }, 8000);
      const at = { outsidePort: port, insidePort: port, path: '/health', timeoutMs: 13_000 };
      const { readiness, seen } = await watch(new Listening([port]), at);
      assert.equal(readiness.kind, 'timed-out');
      assert.deepEqual(seen, ['GET /health answered 500', 'GET /health answered 404']);
    },
  );
});

for (const { status, remark } of [
  { status: 204, remark: null },
  { status: 302, remark: null },
  { status: 404, remark: 'GET / answers 404' },
  { status: 500, remark: 'GET / answers 500' },
]) {
  test(`a tool that answers ${status} at / is healthy, with the remark: ${remark}`, () =>
    withServer(
      (_request, response) => response.writeHead(status).end(),
      async (port) => {
        const { readiness } = await watch(new Listening([port]), { outsidePort: port, insidePort: port });
        assert.deepEqual(readiness, { kind: 'healthy', remark });
      },
    ));
}

test('what stands in the way all the time is told anew, with the time that is left, and is not asked all the time', async () => {
  let asked = 0;
  const listener: RequestListener = (_request, response) => {
    asked += 1;
    response.writeHead(404).end();
  };
  await withServer(listener, async (port) => {
    const change = { outsidePort: port, insidePort: 8000, path: '/nope', timeoutMs: 8000, againMs: 1000 };
    const { readiness, seen } = await watch(new Listening([8000]), change);
    assert.equal(readiness.kind, 'timed-out');
    assert.equal(seen[0], 'GET /nope answered 404');
    assert.match(seen[1] ?? '', /^GET \/nope answered 404; waiting [12] s more$/);
  });
  assert.ok(asked < 120, `asked ${asked} times`);
});

test('a push that is cancelled does not wait for an answer', () =>
  withServer(
    () => {},
    async (port) => {
      const startedAt = performance.now();
      const at = { outsidePort: port, insidePort: port, signal: AbortSignal.timeout(300) };
      await assert.rejects(watch(new Listening([port]), at), { name: 'TimeoutError' });
      assert.ok(performance.now() - startedAt < 3000);
    },
  ));

test('an answer that never comes to its end is none', () =>
  withServer(
    ({ socket }) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const dripping = setInterval(() => socket.write('A: b\r\n'), 500);
      socket.once('close', () => clearInterval(dripping));
    },
    async (port) => {
      const at = { outsidePort: port, insidePort: port, path: '/', timeoutMs: 1000 };
      const ended = { signal: AbortSignal.timeout(20_000) };
      const { readiness } = await watch(new Listening([port]), { ...at, ...ended });
      assert.ok(readiness.kind === 'timed-out');
      assert.equal(readiness.seen.message, 'GET / did not answer within 10 s');
    },
  ));

test('a tool that goes over to another protocol unasked gives no answer, and is not waited for without end', async () => {
  const server = createServer();
  server.on('connection', (socket) => {
    socket
      .on('error', () => {})
      .end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const at = { outsidePort: port, insidePort: port, timeoutMs: 500 };
    const ended = { signal: AbortSignal.timeout(15_000) };
    const { readiness } = await watch(new Listening([port]), { ...at, ...ended });
    assert.ok(readiness.kind === 'timed-out');
    assert.match(readiness.seen.message, /closes connections without an answer/);
  } finally {
    server.close();
  }
});
