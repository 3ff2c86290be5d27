import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createLog } from '../../../../src/core/log/log.ts';
import type { ToolName } from '../../../../src/core/names.ts';
import { addressList } from '../../../../src/run/local/router/forwarded-headers.ts';
import { OpenRequests } from '../../../../src/run/local/router/open-requests.ts';
import { Router } from '../../../../src/run/local/router/router.ts';
import { releaseOf, rollOut } from '../../contract-steps.ts';
import { web, webTool } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

/**
 * A tool that answers with the bytes that the path contains in hexadecimal, and pauses for 1.5 s at each further slash.
 * Then it sends 16,000 bytes for each `m` that it receives.
 */
const literalTool = `
import os, socketserver, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        path = (self.rfile.readline().split() or [b'', b'/'])[1].decode()
        while self.rfile.readline().strip(): pass
        first, *rest = path[1:].split('/')
        self.wfile.write(bytes.fromhex(first) or b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
        for part in rest:
            time.sleep(1.5)
            self.wfile.write(bytes.fromhex(part))
        while self.rfile.read(1) == b'm': self.wfile.write(b'm' * 16_000)
class Server(socketserver.ThreadingTCPServer): daemon_threads = True
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`;

const hex = (bytes: string) => Buffer.from(bytes, 'latin1').toString('hex');

describe('What tools answer', { concurrency: 1 }, () => {
  let bench: LocalBench;
  before(async () => {
    bench = await localBench({ mode: 'trusted', drainMs: 1000 });
    for (const [name, source] of Object.entries({ plain: webTool('plain'), literal: literalTool })) {
      const artifact = await bench.artifact({ 'web.py': source }, [web()]);
      await rollOut(bench.runtime, releaseOf(name as ToolName, 1, artifact));
    }
  });
  after(() => bench.close());

  function open(path: string, fields = 'Connection: close\r\n'): Socket {
    const socket = connect(bench.port, '127.0.0.1');
    socket.setTimeout(20_000, () => socket.destroy());
    socket.write(`GET ${path} HTTP/1.1\r\nHost: literal.localhost\r\n${fields}\r\n`);
    return socket;
  }

  for (const fields of [
    'Transfer-Encoding: chunked\r\nSet-Cookie: own=1',
    'Transfer-Encoding: gzip, chunked\r\nTrailer: X-Sum',
    'Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nContent-Security-Policy: none',
  ]) {
    test(`threat 120: if an answer with ${JSON.stringify(fields)} breaks off at its first chunk, the visitor gets an error page without these fields`, async () => {
      const path = `/${hex(`HTTP/1.1 200 Own\r\n${fields}\r\n\r\nnonsense\r\n`)}`;
      const socket = connect(bench.port, '127.0.0.1');
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: literal.localhost\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx`,
      );
      const answer = await text(socket);
      assert.match(answer, /^HTTP\/1\.1 502 Bad Gateway\r\n.*\r\ncontent-length: \d+\r\n.*gave no answer/s);
      assert.doesNotMatch(answer, /^(?:transfer-encoding|trailer|set-cookie|content-encoding):/im);
    });
  }

  for (const [name, rest] of [
    ['204 and then has a body', ' 204 No\r\nContent-Length: 4\r\n\r\nbody'],
    ['200 and then breaks off', ' 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n'],
  ] as const) {
    test(`threat 120: if a tool answers a request for a WebSocket with ${name}, the client gets only one answer`, async () => {
      const fields = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
      const answer = await text(open(`/${hex(`HTTP/1.1${rest}`)}`, fields));
      assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), [`HTTP/1.1 ${rest.slice(1, 4)}`]);
    });
  }

  for (const [line, expected] of [
    ['HTTP/1.1 099 X', /^HTTP\/1\.1 502 .*ok$/s],
    ['HTTP/1.1 000 X', /^HTTP\/1\.1 502 .*ok$/s],
    ['HTTP/1.1 200 \u0001', /^HTTP\/1\.1 200 .*ok$/s],
  ] as const) {
    test(`threat 60: a tool that answers with the status line ${JSON.stringify(line)} harms no other tool`, async () => {
      const answer = await text(open(`/${hex(`${line}\r\nContent-Length: 2\r\n\r\nok`)}`));
      assert.match(answer, expected);
      assert.equal((await bench.request('plain' as ToolName, '/')).body, 'plain');
    });
  }

  test('103 Early Hints of a tool reach the client before the answer, with no field except Link', async () => {
    const link = 'Link: </a.css>; rel=preload; as=style, </b,c.js>; rel="preload"\r\n';
    const hints = hex(`HTTP/1.1 103 Early Hints\r\n${link}Set-Cookie: a=b\r\n\r\n`);
    const socket = open(`/${hints}/${hex('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')}`);
    const [first] = (await once(socket, 'data')) as [Buffer];
    assert.equal(
      first.toString(),
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style, </b,c.js>; rel="preload"\r\n\r\n',
    );
    assert.match(await text(socket), /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nok$/s);
  });

  for (const encoding of ['xchunked', 'gzip', 'chunked, identity', 'chunked;x', 'gzip, chunked']) {
    test(`threat 24: a tool that sends Transfer-Encoding: ${encoding} cannot make its body look like the next answer`, async () => {
      const head = `HTTP/1.1 200 OK\r\nTransfer-Encoding: ${encoding}\r\n\r\n`;
      const body = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
      const isCut = encoding.endsWith(', chunked');
      const cut = isCut ? `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
      const socket = open(`/${hex(head + cut)}`, '');
      let answer = '';
      socket.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1');
      });
      while (!answer.includes('poison')) await once(socket, 'data');
      socket.destroy();
      assert.match(answer, /\r\nTransfer-Encoding: chunked\r\n/i);
      assert.match(answer, /\r\n\r\n[0-9a-f]+\r\nHTTP\/1\.1 200 OK/);
    });
  }

  for (const [what, fields, line] of [
    ['a page', 'Connection: close\r\n', '200 OK'],
    ['a WebSocket that it opens', 'Connection: Upgrade\r\nUpgrade: websocket\r\n', '101 Switching Protocols'],
    ['a WebSocket that it refuses', 'Connection: Upgrade\r\nUpgrade: websocket\r\n', '403 Forbidden'],
  ] as const) {
    test(`threat 156: a tool that is asked for ${what} cannot make a reverse proxy in front of this server send a file of the proxy`, async () => {
      const orders = 'X-Accel-Redirect: /secret\r\nX-Sendfile: /etc/passwd\r\nX-Accel-Buffering: no\r\n';
      const upgrade = line.startsWith('101') ? 'Connection: Upgrade\r\nUpgrade: websocket\r\n' : '';
      const socket = open(`/${hex(`HTTP/1.1 ${line}\r\n${orders}${upgrade}\r\n`)}`, fields);
      const [head] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      assert.match(head.toString(), /^HTTP\/1\.1 \d+ .*\r\nX-Accel-Buffering: no\r\n/is);
      assert.doesNotMatch(head.toString(), /redirect|sendfile/i);
    });
  }

  for (const length of ['Content-Length: 4', 'Transfer-Encoding: chunked']) {
    test(`threat 24: if a tool answers 204 with ${length}, the client gets no such field and waits for no body`, async () => {
      const answer = await text(open(`/${hex(`HTTP/1.1 204 No Content\r\n${length}\r\n\r\nbody`)}`));
      assert.match(answer, /^HTTP\/1\.1 204 .*\r\n\r\n$/s);
      assert.doesNotMatch(answer, /content-length|transfer-encoding/i);
    });
  }

  test('of the links of one 103 Early Hints of a tool, the first 50 reach the client', async () => {
    const links = Array.from({ length: 60 }, (_, index) => `</${index}>; rel=preload`).join(', ');
    const hints = hex(`HTTP/1.1 103 Early Hints\r\nLink: ${links}\r\n\r\n`);
    const seen = await text(open(`/${hints}${hex('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')}`));
    assert.equal(seen.match(/<\/\d+>/g)?.length, 50);
    assert.match(seen, /<\/49>/);
  });

  test('early hints that cannot be passed on do not stop the tool’s answer, and harm no other tool', async () => {
    const hints = hex('HTTP/1.1 103 Early Hints\r\nLink: </a\u00e9>; \u00ff "; x\r\n\r\n');
    const answer = await text(open(`/${hints}${hex('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')}`));
    assert.match(answer, /HTTP\/1\.1 200 OK\r\n.*\r\n\r\nok$/s);
    assert.equal((await bench.request('plain' as ToolName, '/')).body, 'plain');
  });

  test('the server leaves a link that would be slow to check out of a tool’s early hints, and passes on the tool’s answer', async () => {
    const slow = `<a>${';a=b'.repeat(40)} x, </fine.css>; rel=preload`;
    const hints = hex(`HTTP/1.1 103 Early Hints\r\nLink: ${slow}\r\n\r\n`);
    const answer = await text(open(`/${hints}${hex('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')}`));
    assert.match(answer, /HTTP\/1\.1 200 OK\r\n.*\r\n\r\nok$/s);
    assert.doesNotMatch(answer, /a=b/);
  });

  test('trailers of a tool come after the body, except fields that belong in the head', async () => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n';
    const trailers = 'X-Sum: 42\r\nSet-Cookie: a=b\r\nX-Odd: \u00e9\r\nX-Accel-Redirect: /secret\r\n';
    const answer = await text(open(`/${hex(`${head}2\r\nok\r\n0\r\n${trailers}\r\n`)}`));
    assert.match(answer, /\r\nTrailer: X-Sum\r\n/i);
    assert.match(answer, /\r\n\r\n2\r\nok\r\n0\r\n/);
    assert.match(answer, /0\r\nx-sum: 42\r\n/);
    assert.doesNotMatch(answer, /set-cookie|x-accel/i);
  });

  test('if a tool closes each connection without an answer, and the router sends the request again several times, Node.js prints no warning', async (t) => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    t.after(() => process.off('warning', onWarning));
    assert.match(await text(open('/zz')), /^HTTP\/1\.1 50\d /);
    assert.deepEqual(warnings, []);
  });

  for (const [name, head] of [
    ['a Content-Length', 'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 2\r\n\r\nok'],
    ['no body', 'HTTP/1.1 204 No\r\nTrailer: X-Sum\r\n\r\n'],
  ] as const) {
    test(`threat 23: if a tool’s answer announces trailers and has ${name}, other tools still answer`, async () => {
      assert.match(await text(open(`/${hex(head)}`)), /^HTTP\/1\.1 20[04] /);
      assert.equal((await bench.request('plain' as ToolName, '/')).body, 'plain');
    });
  }

  test('the server passes on the head of a tool’s answer before the body comes', async () => {
    const head = hex('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n');
    const socket = open(`/${head}/${hex('data: 1\n\n')}`);
    const [first] = (await once(socket, 'data')) as [Buffer];
    assert.match(first.toString(), /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n$/s);
    const [second] = (await once(socket, 'data')) as [Buffer];
    assert.match(second.toString(), /data: 1/);
    socket.destroy();
  });

  test('if a tool closes a WebSocket, a slow client still gets all data that the tool sent before', {
    timeout: 20_000,
  }, async (t) => {
    const { promise: accepted, resolve } = Promise.withResolvers<Duplex>();
    const server = createServer().on('upgrade', (incoming, socket, head) => {
      resolve(socket);
      bench.runtime.upgrade('literal', incoming, socket, head);
    });
    t.after(() => server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const head = hex('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(`GET /${head} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n`);
    await once(socket, 'readable');
    const inner = await accepted;
    let asked = 0;
    for (; inner.writableLength === 0; asked += 1) {
      socket.write('m');
      await wait(2);
    }
    socket.write('.');
    await wait(300);
    const answer = await text(socket);
    assert.equal(answer.split('\r\n\r\n')[1]?.length, asked * 16_000);
  });
});

test('threat 120: if a tool sends one byte more than its Content-Length and exits, its answer reaches the client, even if an earlier answer on the same connection must come first', async () => {
  const ended = Promise.withResolvers<void>();
  const tool = createTcpServer((socket) =>
    socket.once('data', (request) => {
      if (/first/.test(String(request))) void ended.promise.then(() => socket.end(answer('first')));
      else socket.end(`${answer('second')}!`);
    }),
  );
  const answer = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  tool.listen(0, '127.0.0.1');
  await once(tool, 'listening');
  const { port } = tool.address() as AddressInfo;
  const router = routerTo(port, 'crashed');
  const server = createServer((request, response) => router.serve('late', request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const head = 'HTTP/1.1\r\nHost: late.localhost\r\n';
  socket.write(`GET /first ${head}\r\nGET /second ${head}Connection: close\r\n\r\n`);
  setTimeout(ended.resolve, 200);
  assert.match(await text(socket), /first.*second$/s);
  server.close();
  tool.close();
});

test('threat 123: if a tool has refused a WebSocket and the client leaves, the server closes the client’s connection, even if the client had sent more bytes', async (t) => {
  const tool = createTcpServer((socket) =>
    socket.once('data', () => socket.end('HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n')),
  );
  const { client, accepted } = await askWebSocket(t, tool, 'more');
  const socket = await accepted;
  const closed = once(socket, 'close', { signal: AbortSignal.timeout(3_000) });
  await once(client, 'data');
  client.end();
  await closed;
});

test('if a client leaves before the tool has answered the client’s request for a WebSocket, the router ends its own request to the tool', async (t) => {
  const asked = Promise.withResolvers<Socket>();
  const tool = createTcpServer((socket) =>
    socket.on('error', () => {}).once('data', () => asked.resolve(socket)),
  );
  const { client } = await askWebSocket(t, tool, 'more');
  const socket = await asked.promise;
  const closed = once(socket, 'close', { signal: AbortSignal.timeout(5_000) });
  client.end();
  await closed;
});

test('bytes that a client sends before its WebSocket opens reach the tool in order, each once', async (t) => {
  const tool = createTcpServer((socket) => {
    socket.once('data', (head) => {
      const [, first = ''] = String(head).split('\r\n\r\n');
      setTimeout(() => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
        socket.write(first);
        socket.pipe(socket);
      }, 500);
    });
  });
  const { client } = await askWebSocket(t, tool, 'one ');
  const large = 'x'.repeat(200_000);
  for (const part of ['two ', large, ' end']) {
    client.write(part);
    await wait(50);
  }
  let got = '';
  client.setEncoding('utf8').on('data', (chunk: string) => {
    got += chunk;
    if (got.endsWith(' end')) client.end();
  });
  await once(client, 'close', { signal: AbortSignal.timeout(10_000) });
  assert.equal(got.slice(got.indexOf('\r\n\r\n') + 4), `one two ${large} end`);
});

/** A client that asks the tool for a WebSocket through a router, and the router’s connection with the client. */
async function askWebSocket(
  t: TestContext,
  tool: Server,
  early = '',
): Promise<{ client: Socket; accepted: Promise<Duplex> }> {
  tool.listen(0, '127.0.0.1');
  await once(tool, 'listening');
  const { port } = tool.address() as AddressInfo;
  const router = routerTo(port, 'up');
  const { promise: accepted, resolve } = Promise.withResolvers<Duplex>();
  const server = createServer().on('upgrade', (request, socket, head) => {
    resolve(socket);
    router.upgrade('rude', request, socket, head);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.write(`GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${early}`);
  t.after(() => {
    client.destroy();
    void accepted.then((socket) => socket.destroy());
    server.close();
    tool.close();
  });
  return { client, accepted };
}

/**
 * A router whose only tool listens on `port`. `fate` is the state of the tool’s process that the router gets when a
 * connection with the tool breaks off.
 */
function routerTo(port: number, fate: 'crashed' | 'up'): Router {
  return new Router({
    routeOf: () => ({ kind: 'up', port, traffic: new OpenRequests(), fate: () => fate }),
    logsCommand: () => '',
    trustedProxies: addressList([]),
    answerMs: 10_000,
    log: createLog('silent'),
  });
}
