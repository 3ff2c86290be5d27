import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { releaseOf, rollOut, until } from '../../contract-steps.ts';
import { silentTool, web, webTool } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

/** A tool that echoes the bytes of a WebSocket connection, after a handshake by hand (RFC 6455 section 4.2.2). */
const echoTool = `
import base64, hashlib, os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        fields = {}
        if not self.rfile.readline(): return
        while (line := self.rfile.readline().strip()):
            name, _, value = line.partition(b':'); fields[name.lower()] = value.strip()
        if fields.get(b'upgrade') != b'websocket':
            self.wfile.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'); return
        key = fields[b'sec-websocket-key'] + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        answer = base64.b64encode(hashlib.sha1(key).digest())
        self.wfile.write(b'HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + answer + b'\\r\\n\\r\\n')
        while (data := self.request.recv(1000)):
            if data == b'die': os._exit(5)
            self.wfile.write(data.upper())
class Server(socketserver.ThreadingTCPServer): daemon_threads = True
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`;

/**
 * A tool that reads only the first line of a request. At `/gone`, it closes without an answer; at `/switch`, it switches
 * protocols; at any other path, it answers 413 and closes.
 */
const hastyTool = `
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        if b'/gone' in line: return
        if b'/switch' in line:
            self.wfile.write(b'HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: x\\r\\nConnection: upgrade\\r\\n\\r\\n')
            self.rfile.read(); return
        self.wfile.write(b'HTTP/1.1 413 Too Large\\r\\nContent-Length: 9\\r\\nConnection: close\\r\\n\\r\\ntoo large')
class Server(socketserver.ThreadingTCPServer): daemon_threads = True
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`;

describe('Router', { concurrency: 1 }, () => {
  let bench: LocalBench;
  before(async () => {
    bench = await localBench({ mode: 'trusted', drainMs: 1000 });
    await rollOut(
      bench.runtime,
      releaseOf('plain' as ToolName, 1, await bench.artifact({ 'web.py': webTool('plain') }, [web()])),
    );
  });
  after(() => bench.close());

  /** Sends these bytes. @returns what comes back until the connection ends or nothing has been sent for 20 s. */
  async function raw(text: string): Promise<string> {
    const socket = connect(bench.port, '127.0.0.1');
    socket.setTimeout(20_000, () => socket.destroy());
    socket.write(text);
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk;
    });
    await once(socket, 'close').catch(() => {});
    return answer;
  }

  const get = (host: string, path: string, fields = '') =>
    raw(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${fields}\r\n`);

  async function openSocket(tool: string): Promise<Socket> {
    const key = randomBytes(16).toString('base64');
    const socket = connect(bench.port, '127.0.0.1');
    socket.setTimeout(20_000, () => socket.destroy());
    socket.write(
      `GET / HTTP/1.1\r\nHost: ${tool}.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    const [head] = (await once(socket, 'data')) as [Buffer];
    const expected = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    assert.match(head.toString(), /^HTTP\/1\.1 101 /);
    assert.ok(head.toString().includes(expected));
    return socket;
  }

  test('in a Host header, letter case and port do not matter, and the server’s own name is no tool', async () => {
    assert.match(await get(`PLAIN.LocalHost:${bench.port}`, '/'), /\r\n\r\nplain$/);
    assert.equal(bench.runtime.toolOf('localhost'), null);
    assert.equal(bench.runtime.toolOf(`127.0.0.1:${bench.port}`), null);
    assert.equal(bench.runtime.toolOf(undefined), null);
    assert.equal(bench.runtime.toolOf('plain.localhost.'), 'plain');
    assert.equal(bench.runtime.toolOf('plain.localhost.example.org'), null);
    assert.equal(bench.runtime.toolOf('.localhost'), null);
  });

  test('the page for an unknown tool says that there is no such tool, and escapes the name', async () => {
    const page = await get('nobody.localhost', '/');
    assert.match(page, /^HTTP\/1\.1 404 /);
    assert.match(page, /There is no tool by this name here, or nothing has been deployed to it yet\./);
    assert.match(page, /content-security-policy: default-src 'none'/i);
    const odd = await get('<script>.localhost', '/');
    assert.doesNotMatch(odd, /<script>/);
  });

  test('while a tool starts, visitors get a page with the status 503 and the header Retry-After', async () => {
    const artifact = await bench.artifact({ 'web.py': silentTool }, [web()]);
    await bench.runtime.resume(releaseOf('soon' as ToolName, 1, artifact), 1, {});
    const page = await get('soon.localhost', '/');
    assert.match(page, /^HTTP\/1\.1 503 /);
    assert.match(page, /retry-after: 3/i);
    assert.match(page, /soon is starting/);
    await bench.runtime.stop('soon' as ToolName);
    assert.match(await get('soon.localhost', '/'), /soon is stopped/);
  });

  test('the page of a crashed tool says how its process ended, and with which command its maintainers see the log', async () => {
    const source = `import sys\nsys.exit(9)`;
    const artifact = await bench.artifact({ 'web.py': source }, [web()]);
    await bench.runtime.resume(releaseOf('broken' as ToolName, 1, artifact), 1, {});
    const page = await until(async () => {
      const answer = await get('broken.localhost', '/');
      return answer.startsWith('HTTP/1.1 502') && answer;
    }, 'the page');
    assert.match(page, /web\.1 exited with code 9; starting again in [\d.]+ s\./);
    assert.match(page, /ssh -p 2222 127\.0\.0\.1 logs broken/);
    const [status] = await until(async () => {
      const all = await bench.runtime.status('broken' as ToolName);
      return (all[0]?.restarts ?? 0) >= 3 && all;
    }, 'a crash loop');
    assert.equal(status?.name, 'web.1');
    await bench.runtime.stop('broken' as ToolName);
  });

  test('a tool learns the client’s address and scheme from X-Forwarded fields, which a client cannot forge', async () => {
    const fields = 'X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n';
    const header = async (name: string) =>
      (await get('plain.localhost', `/header/${name}`, fields)).split('\r\n\r\n')[1];
    assert.equal(await header('x-forwarded-for'), '127.0.0.1');
    assert.equal(await header('x-forwarded-proto'), 'http');
    assert.equal(await header('x-forwarded-host'), 'plain.localhost');
    assert.equal(await header('forwarded'), '');
    assert.equal(await header('host'), 'plain.localhost');
  });

  test('threat 23: a client cannot remove the server’s X-Forwarded fields by naming them in Connection', async () => {
    for (const name of ['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host']) {
      const lines = [
        `GET /header/${name.toLowerCase()} HTTP/1.1`,
        'Host: plain.localhost',
        `Connection: close, ${name}`,
      ];
      assert.match(
        (await raw(`${lines.join('\r\n')}\r\n\r\n`)).split('\r\n\r\n')[1] ?? '',
        /^(127\.0\.0\.1|http|plain\.localhost)$/,
      );
    }
  });

  test('a header field that a request names in its Connection field is not forwarded to the tool', async () => {
    const text = `GET /header/x-private HTTP/1.1\r\nHost: plain.localhost\r\nConnection: close, X-Private\r\nX-Private: 1\r\n\r\n`;
    assert.equal((await raw(text)).split('\r\n\r\n')[1], '');
  });

  test('if the first line of a request contains a whole URL, the tool gets only the path', async () => {
    assert.match(
      await raw(
        'GET http://plain.localhost/env/LANG HTTP/1.1\r\nHost: plain.localhost\r\nConnection: close\r\n\r\n',
      ),
      /C\.UTF-8$/,
    );
  });

  test('a request body of 20 MB reaches the tool complete', async () => {
    const size = 20_000_000;
    const outgoing = request({
      host: '127.0.0.1',
      port: bench.port,
      method: 'POST',
      path: '/',
      headers: { host: 'plain.localhost', 'content-length': size },
    });
    outgoing.end(Buffer.alloc(size));
    const [response] = await once(outgoing, 'response');
    assert.equal(
      Buffer.concat(await Array.fromAsync(response as AsyncIterable<Buffer>)).toString(),
      String(size),
    );
  });

  test('if a tool answers before it has read a large body, the client gets the answer, and its connection stays open', async () => {
    const tool = 'hasty' as ToolName;
    const artifact = await bench.artifact({ 'web.py': hastyTool }, [web()]);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const connections = new Set<unknown>();
    const send = async (path: string) => {
      const size = 20_000_000;
      const headers = { host: 'hasty.localhost', 'content-length': size };
      const options = { host: '127.0.0.1', port: bench.port, method: 'POST', headers, agent };
      const outgoing = request({ ...options, path });
      outgoing.end(Buffer.alloc(size));
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
      connections.add(response.socket);
      return { status: response.statusCode, body: await text(response) };
    };
    for (let count = 0; count < 5; count += 1) {
      assert.deepEqual(await send('/'), { status: 413, body: 'too large' });
    }
    assert.equal(connections.size, 1);
    assert.equal((await send('/gone')).status, 502);
    assert.match(await get('hasty.localhost', '/switch'), /^HTTP\/1\.1 502 /);
    assert.equal((await send('/switch')).status, 502);
    agent.destroy();
    await bench.runtime.stop(tool);
  });

  test('if a tool dies during an answer, the answer is cut off without an error page, and other tools still answer', async () => {
    const tool = 'half' as ToolName;
    await rollOut(
      bench.runtime,
      releaseOf(tool, 1, await bench.artifact({ 'web.py': webTool('half') }, [web()])),
    );
    const answer = await get('half.localhost', '/half');
    assert.match(answer, /^HTTP\/1\.1 200 /);
    assert.ok(!answer.includes('Error'));
    assert.match(await get('plain.localhost', '/'), /plain$/);
    await bench.runtime.stop(tool);
  });

  test('if a tool closes the connection without an answer, the client gets a page with the status 502', async () => {
    const tool = 'gone' as ToolName;
    await rollOut(bench.runtime, releaseOf(tool, 1, await bench.artifact({ 'web.py': hastyTool }, [web()])));
    assert.match(await get('gone.localhost', '/gone'), /^HTTP\/1\.1 502 /);
    await bench.runtime.stop(tool);
  });

  test('if a tool exits without an answer, the client gets 502; if the server has already noticed the exit, the client gets 503 with the page of a starting tool', async () => {
    const tool = 'exits' as ToolName;
    await rollOut(
      bench.runtime,
      releaseOf(tool, 1, await bench.artifact({ 'web.py': webTool('exits') }, [web()])),
    );
    // 503 if the server learns of the exit before it learns that the connection has ended.
    assert.match(await get('exits.localhost', '/exit'), /^HTTP\/1\.1 (502 |503 [\s\S]*exits is starting)/);
    await bench.runtime.stop(tool);
  });

  test('a client that disconnects during a request harms no other request', async () => {
    const socket = connect(bench.port, '127.0.0.1');
    socket.write('GET /slow HTTP/1.1\r\nHost: plain.localhost\r\n\r\n');
    await once(socket, 'connect');
    socket.resetAndDestroy();
    assert.match(await get('plain.localhost', '/'), /plain$/);
  });

  test('WebSockets pass data both ways, and close when the drain of their release ends', async () => {
    const tool = 'echo' as ToolName;
    const artifact = await bench.artifact({ 'web.py': echoTool }, [web()]);
    await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
    const socket = await openSocket('echo');
    for (const word of ['hello', 'again']) {
      socket.write(word);
      const [data] = (await once(socket, 'data')) as [Buffer];
      assert.equal(data.toString(), word.toUpperCase());
    }
    const closed = once(socket, 'close');
    await rollOut(bench.runtime, releaseOf(tool, 2, artifact));
    await closed;
    await until(async () => (await bench.runtime.status(tool)).length === 1, 'the old one to be gone');
  });

  test('a WebSocket closes if its tool dies, and gets an error status if the tool does not exist or refuses the WebSocket', async () => {
    const socket = await openSocket('echo');
    const closed = once(socket, 'close');
    socket.write('die');
    await closed;
    const upgrade =
      'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n';
    assert.match(await raw(`GET / HTTP/1.1\r\nHost: nobody.localhost\r\n${upgrade}`), /^HTTP\/1\.1 404 /);
    assert.match(
      await raw(`GET /status/403 HTTP/1.1\r\nHost: plain.localhost\r\n${upgrade}`),
      /^HTTP\/1\.1 403 /,
    );
    assert.match(await raw(`GET /exit HTTP/1.1\r\nHost: plain.localhost\r\n${upgrade}`), /^HTTP\/1\.1 502 /);
    assert.match(
      await raw('GET / HTTP/1.1\r\nHost: plain.localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n'),
      /^HTTP\/1\.1 (400|50[23]) /,
    );
  });
});
