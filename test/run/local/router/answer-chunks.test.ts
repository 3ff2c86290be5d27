import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ToolName } from '../../../../src/core/names.ts';
import { releaseOf, rollOut } from '../../contract-steps.ts';
import { web } from '../../tool-sources.ts';
import { localBench } from '../local-bench.ts';

/** A tool that answers in chunks of one byte: 20,000 chunks at `/letters`, endless chunks at any other path. */
const tool = `
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        while self.rfile.readline().strip(): pass
        self.wfile.write(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n')
        letters = b'1\\r\\nz\\r\\n' * 20000
        while b'/letters' not in line: self.wfile.write(letters)
        self.wfile.write(letters + b'0\\r\\n\\r\\n')
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`;

function ask(port: number, path: string): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.on('data', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nHost: slow.localhost\r\nConnection: close\r\n\r\n`);
  return socket;
}

test('a tool that sends endless one-byte chunks does not use up the server’s time, and a page of such chunks is complete', async (context) => {
  const bench = await localBench({ mode: 'trusted' });
  context.after(() => bench.close());
  const artifact = await bench.artifact({ 'web.py': tool }, [web()]);
  await rollOut(bench.runtime, releaseOf('slow' as ToolName, 1, artifact));

  let text = '';
  const whole = ask(bench.port, '/letters').on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  await new Promise((resolve) => whole.once('close', resolve));
  assert.equal(text.slice(text.indexOf('\r\n\r\n')).match(/z/g)?.length, 20_000);

  const hostile = Array.from({ length: 20 }, () => ask(bench.port, '/endless'));
  context.after(() => {
    for (const socket of hostile) socket.destroy();
  });
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  await sleep(4_000);
  delay.disable();
  const medianMs = delay.percentile(50) / 1e6;
  assert.ok(medianMs < 250, `half of the time nothing else was served for ${medianMs} ms`);
});
