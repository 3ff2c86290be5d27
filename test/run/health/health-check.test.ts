import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import {
  type HealthCheck,
  judge,
  type Readiness,
  untilHealthy,
  wrongPort,
} from '../../../src/run/health/health-check.ts';
import type { SandboxProcess } from '../../../src/sandbox/sandbox.ts';

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

  settle(): void {}

  async signalMarked(): Promise<void> {}

  async listeningPorts(): Promise<number[]> {
    return [...this.ports];
  }

  memoryBytes(): null {
    return null;
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

test('threat 79: if a web process listens only on another port than PORT, it counts as unhealthy soon, without waiting for the end of health_time', async () => {
  const limits = { timeoutMs: 60_000, elsewhereMs: 300 };
  const { readiness } = await watch(new Listening([5000]), limits);
  assert.ok(readiness.kind === 'timed-out');
  assert.equal(readiness.waitedMs, 300);
  assert.equal(readiness.seen.message, 'web.1 listens on port 5000, not on PORT (8000)');
});

test('the message about a web process that listens on 3,000 wrong ports names five ports, and says how many more there are', () => {
  const ports = Array.from({ length: 3000 }, (_, index) => 10_000 + index);
  assert.equal(
    wrongPort({ name: 'web.1', insidePort: 8000 }, ports).message,
    'web.1 listens on ports 10000, 10001, 10002, 10003, 10004 and 2995 more, not on PORT (8000)',
  );
});

test('threat 79: a web process that listens briefly on another port than PORT, and then on no port, counts as unhealthy only after health_time', async () => {
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
  assert.match(readiness.seen.hint, /If the tool is a bot .*`worker: COMMAND` into a Procfile/);
});

test('while a web process is not healthy, the push reports a problem when it is new, and not again at each check', async () => {
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
  test(`a tool that answers ${status} at / is healthy, with ${remark === null ? 'no remark' : `the remark “${remark}”`}`, () =>
    withServer(
      (_request, response) => response.writeHead(status).end(),
      async (port) => {
        const { readiness } = await watch(new Listening([port]), { outsidePort: port, insidePort: port });
        assert.deepEqual(readiness, { kind: 'healthy', remark });
      },
    ));
}

test('if a web process stays unhealthy, the push repeats the problem with the time left, and the process gets fewer than 120 requests in 8 s', async () => {
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

test('a push that is cancelled no longer waits for an answer of the web process', () =>
  withServer(
    () => {},
    async (port) => {
      const startedAt = performance.now();
      const at = { outsidePort: port, insidePort: port, signal: AbortSignal.timeout(300) };
      await assert.rejects(watch(new Listening([port]), at), { name: 'TimeoutError' });
      assert.ok(performance.now() - startedAt < 3000);
    },
  ));

test('an HTTP answer whose head never ends does not make a web process healthy', () =>
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
      assert.match(readiness.seen.message, /accepted connections on port \d+ but never answered GET \/$/);
    },
  ));

test('the health check waits for a slow first answer, and has at most two requests open', async () => {
  let open = 0;
  let most = 0;
  const listener: RequestListener = (_request, response) => {
    open += 1;
    most = Math.max(most, open);
    response.once('close', () => {
      open -= 1;
    });
    setTimeout(() => response.end('loaded'), 23_000);
  };
  await withServer(listener, async (port) => {
    const at = { outsidePort: port, insidePort: port, timeoutMs: 60_000 };
    const startedAt = performance.now();
    const { readiness, seen } = await watch(new Listening([port]), at);
    assert.deepEqual(readiness, { kind: 'healthy', remark: null });
    assert.ok(performance.now() - startedAt > 22_000);
    assert.deepEqual(seen, ['web.1 has accepted GET / but has not answered yet']);
    assert.equal(most, 2);
  });
});

test('a web process that loses its first request is healthy when it answers a later request', async () => {
  let asked = 0;
  const listener: RequestListener = (_request, response) => {
    asked += 1;
    if (asked > 1) response.end('here');
  };
  await withServer(listener, async (port) => {
    const at = { outsidePort: port, insidePort: port, timeoutMs: 30_000 };
    const { readiness } = await watch(new Listening([port]), at);
    assert.deepEqual(readiness, { kind: 'healthy', remark: null });
  });
});

test('a web process that never answers counts as unhealthy a few seconds after health_time is over', async () => {
  await withServer(
    () => {},
    async (port) => {
      const startedAt = performance.now();
      const at = { outsidePort: port, insidePort: port, timeoutMs: 1500 };
      const { readiness } = await watch(new Listening([port]), at);
      assert.ok(readiness.kind === 'timed-out');
      assert.match(readiness.seen.message, /never answered GET \/$/);
      assert.ok(performance.now() - startedAt < 6000);
    },
  );
});

test('a web process that sends only interim answers (102) is not healthy, and its check costs little processor time', async () => {
  const server = createServer();
  server.on('connection', (socket) => {
    const piece = 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000);
    const send = () => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.on('error', () => {}).on('drain', send);
    send();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const before = process.cpuUsage();
    const at = { outsidePort: port, insidePort: port, timeoutMs: 2000 };
    const { readiness } = await watch(new Listening([port]), at);
    assert.ok(readiness.kind === 'timed-out');
    const { user } = process.cpuUsage(before);
    assert.ok(user < 1_000_000, `${user / 1000} ms`);
  } finally {
    server.close();
  }
});

for (const { name, line, how } of [
  {
    name: 'gunicorn, out of memory',
    line: '[2026-01-01 00:00:00 +0000] [7] [ERROR] Worker (pid:12) was sent SIGKILL! Perhaps out of memory?',
    how: /are killed/,
  },
  {
    name: 'uWSGI, out of memory',
    line: 'DAMN ! worker 1 (pid: 9) died, killed by signal 9 :( trying respawn ...',
    how: /are killed/,
  },
  {
    name: 'PHP-FPM, out of memory',
    line: 'WARNING: [pool www] child 12 exited on signal 9 (SIGKILL) after 3.1 seconds from start',
    how: /are killed/,
  },
  {
    name: 'Apache httpd, out of memory',
    line: '[core:notice] [pid 1] AH00052: child pid 12 exit signal Killed (9)',
    how: /are killed/,
  },
  {
    name: 'gunicorn, too slow',
    line: '[2026-01-01 00:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:12)',
    how: /end before they answer/,
  },
  {
    name: 'gunicorn, by itself',
    line: '[2026-01-01 00:00:00 +0000] [7] [ERROR] Worker (pid:12) exited with code 1',
    how: /end before they answer/,
  },
  { name: 'uvicorn', line: 'INFO:     Child process [12] died', how: /end before they answer/ },
]) {
  test(`the health check recognises in the output that workers die: ${name}`, () => {
    const asked = { name: 'web.1', insidePort: 8000, path: null, lines: ['starting', line, 'again'] };
    const verdict = judge('too late', asked);
    assert.ok(verdict.kind === 'not-yet');
    assert.match(verdict.seen.message, how);
    assert.ok(verdict.seen.soFar.includes(line));
  });
}

test('the health check does not mistake lines about starting workers for dying workers', () => {
  const lines = [
    '[INFO] Booting worker with pid: 8',
    'spawned uWSGI worker 1 (pid: 9, cores: 1)',
    'child ready',
  ];
  const verdict = judge('too late', { name: 'web.1', insidePort: 8000, path: null, lines });
  assert.ok(verdict.kind === 'not-yet');
  assert.match(verdict.seen.message, /never answered/);
});
