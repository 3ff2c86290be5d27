import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { releaseOf, rollOut } from '../../contract-steps.ts';
import { web } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

const ANSWER_MS = 1_500;

/**
 * A tool whose path decides the answer: at `/never` none comes, at `/events` a line each half second for three seconds,
 * at `/hints` a 103 and then the answer, at `/interim` endless 102 answers. It reads a body slowly, over three seconds,
 * and then answers.
 */
const tool = `
import os, socket, socketserver, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        line, size = self.rfile.readline(), 0
        while (field := self.rfile.readline().strip()):
            if field.lower().startswith(b'content-length:'): size = int(field[15:])
        write = lambda text: self.wfile.write(text.replace('\\n', '\\r\\n').encode())
        if b'/never' in line: time.sleep(60)
        if b'/interim' in line:
            while True: write('HTTP/1.1 102 Processing\\n\\n' * 100)
        if b'/hints' in line: write('HTTP/1.1 103 Early Hints\\nLink: </a.css>; rel=preload\\n\\n')
        if b'/events' in line:
            write('HTTP/1.1 200 OK\\nContent-Type: text/event-stream\\nConnection: close\\n\\n')
            for number in range(6): time.sleep(0.5); write(f'data: {number}\\n\\n')
            return
        for part in range(6 if size else 0): self.rfile.read(size // 6); time.sleep(0.5)
        write('HTTP/1.1 200 OK\\nContent-Length: 2\\nConnection: close\\n\\nok')
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    def server_bind(self):
        # A large buffer of the kernel would take most of a body at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536); super().server_bind()
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`;

let bench: LocalBench;
before(async () => {
  bench = await localBench({ mode: 'trusted', answerMs: ANSWER_MS });
  const artifact = await bench.artifact({ 'web.py': tool }, [web()]);
  await rollOut(bench.runtime, releaseOf('slow' as ToolName, 1, artifact));
});
after(() => bench.close());

/** Reads the whole answer, and measures how long it took. */
async function ask(path: string, fields = '', send?: (socket: Socket) => void) {
  const startedAt = performance.now();
  const socket = connect(bench.port, '127.0.0.1');
  socket.setTimeout(20_000, () => socket.destroy());
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nHost: slow.localhost\r\n${fields || 'Connection: close\r\n'}\r\n`);
  send?.(socket);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(socket, 'close');
  return { text, ms: performance.now() - startedAt };
}

const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n';

test('if a tool does not answer in time, the client gets a page with the status 504', async () => {
  const { text, ms } = await ask('/never');
  assert.match(text, /^HTTP\/1\.1 504 /);
  assert.match(text, /slow did not answer in time[\s\S]*gave no answer for 1\.5 s/);
  assert.ok(ms >= ANSWER_MS, `${ms} ms`);
});

test('a request for a WebSocket that the tool does not answer in time gets the status 504', async () => {
  const { text } = await ask('/never', upgrade);
  assert.match(text, /^HTTP\/1\.1 504 [\s\S]*slow did not answer in time/);
});

test('once a tool has begun its answer, the answer has no time limit', async () => {
  const { text, ms } = await ask('/events');
  assert.match(text, /^HTTP\/1\.1 200 [\s\S]*data: 5/);
  assert.ok(ms > ANSWER_MS);
});

test('the time limit for a tool’s answer does not run while the tool reads the request’s body', async () => {
  const size = 12_000_000;
  const fields = `Connection: close\r\nContent-Length: ${size}\r\n`;
  const { text, ms } = await ask('/', fields, (socket) => socket.write(Buffer.alloc(size)));
  assert.match(text, /^HTTP\/1\.1 200 /);
  assert.ok(ms > ANSWER_MS);
});

test('early hints of a tool reach the client, and the final answer follows', async () => {
  const { text } = await ask('/hints');
  assert.match(text, /^HTTP\/1\.1 103 Early Hints\r\n.*\r\n\r\nHTTP\/1\.1 200 /s);
});

for (const { name, fields } of [
  { name: 'a request', fields: '' },
  { name: 'a request for a WebSocket', fields: upgrade },
]) {
  test(`if a tool sends endless interim answers to ${name}, the client gets the status 502`, async () => {
    const { text, ms } = await ask('/interim', fields);
    assert.match(text, /^HTTP\/1\.1 502 [\s\S]*interim answers/);
    assert.ok(ms < ANSWER_MS, `${ms} ms`);
  });
}
