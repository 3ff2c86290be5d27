import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { releaseOf, rollOut, scale, textOf, until } from '../contract-steps.ts';
import { web, webTool, worker } from '../tool-sources.ts';
import { type LocalBench, localBench } from './local-bench.ts';

for (const mode of ['trusted', 'isolated'] as const) {
  describe(`several processes of a type, ${mode}`, { concurrency: 1 }, () => {
    let bench: LocalBench;
    before(async () => {
      bench = await localBench({ mode });
    });
    after(() => bench.close());
    const webArtifact = (word: string) => bench.artifact({ 'web.py': webTool(word) }, [web()]);
    const restartsOf = async (tool: ToolName) =>
      (await bench.runtime.status(tool)).map(({ restarts }) => restarts).toSorted();

    test('a request goes to a web process that is not busy with other requests', async () => {
      const tool = 'busy' as ToolName;
      await rollOut(bench.runtime, releaseOf(tool, 1, await webArtifact('busy')), { replicas: { web: 2 } });
      const slow = bench.request(tool, '/slow');
      await until(
        async () => (await textOf(bench.runtime, tool)).includes('slow begins'),
        'the slow request',
      );
      const ids: string[] = [];
      for (let count = 0; count < 10; count += 1) ids.push((await bench.request(tool, '/id')).body);
      assert.equal(new Set(ids).size, 1);
      await slow;
      for (let count = 0; count < 4; count += 1) ids.push((await bench.request(tool, '/id')).body);
      assert.equal(new Set(ids).size, 2, 'of idle ones each has its turn');
    });

    test('a request that crashes a web process is answered 502, and not sent to another process of the tool', async () => {
      const tool = 'poison' as ToolName;
      await rollOut(bench.runtime, releaseOf(tool, 1, await webArtifact('poison')), { replicas: { web: 3 } });
      assert.equal((await bench.request(tool, '/exit')).status, 502);
      await until(async () => (await restartsOf(tool)).join() === '0,0,1', 'the restart of one');
      assert.equal((await bench.request(tool, '/')).body, 'poison');
    });

    test('if a tool is scaled to 0 web processes, visitors get a page that says that no web process runs, and why', async () => {
      const tool = 'empty' as ToolName;
      const release = releaseOf(tool, 1, await webArtifact('empty'));
      await rollOut(bench.runtime, release);
      await scale(bench.runtime, release, { web: 0 });
      const page = await bench.request(tool, '/');
      assert.equal(page.status, 503);
      assert.match(page.body, /empty has no web process running/);
      assert.match(page.body, /scaled it to 0 web processes/);
    });

    test('scaling down ends a surplus web process when its requests are done, and the other process continues', async () => {
      const tool = 'drained' as ToolName;
      const release = releaseOf(tool, 1, await webArtifact('drained'));
      await rollOut(bench.runtime, release, { replicas: { web: 2 } });
      const slow = [bench.request(tool, '/slow'), bench.request(tool, '/slow')];
      await until(
        async () => (await textOf(bench.runtime, tool)).split('slow begins').length === 3,
        'both to be busy',
      );
      const seen = await scale(bench.runtime, release, { web: 1 });
      assert.equal(seen, '');
      assert.deepEqual(
        (await bench.runtime.status(tool)).map(({ name, state }) => [name, state]),
        [
          ['web.1', 'up'],
          ['web.2', 'stopping'],
        ],
      );
      assert.deepEqual(
        (await Promise.all(slow)).map(({ status }) => status),
        [200, 200],
      );
      await until(async () => (await bench.runtime.status(tool)).length === 1, 'the end of web.2');
      assert.deepEqual(await restartsOf(tool), [0]);
    });

    test('a WebSocket stays with its web process, and closes when that process ends', async () => {
      const tool = 'sockets' as ToolName;
      const release = releaseOf(tool, 1, await bench.artifact({ 'web.py': namingTool }, [web()]));
      await rollOut(bench.runtime, release, { replicas: { web: 2 } });
      const sockets = await Promise.all([openSocket(bench.port, tool), openSocket(bench.port, tool)]);
      const say = async (socket: Socket) => {
        socket.write('who');
        return String((await once(socket, 'data'))[0]);
      };
      const [one, other] = [await say(sockets[0]), await say(sockets[1])];
      assert.notEqual(one, other);
      const closed = sockets.map((socket, index) => once(socket, 'close').then(() => index));
      await scale(bench.runtime, release, { web: 1 });
      const gone = await Promise.race(closed);
      const left = sockets[gone === 0 ? 1 : 0];
      assert.ok(left !== undefined);
      assert.equal(await say(left), gone === 0 ? other : one);
      left.destroy();
    });

    test('threat 60: the limits of a release apply to each process separately', async () => {
      const tool = 'limits' as ToolName;
      // Both workers together use more than a single worker may use (64 processes, 256 MiB).
      const script = `import os, time\nfor i in range(40):\n    if os.fork() == 0: time.sleep(1000)\ndata = bytearray(150 * 2**20)\nprint('has all')\ntime.sleep(1000)`;
      const release = releaseOf(tool, 1, await bench.artifact({ 'worker.py': script }, [worker()]));
      await rollOut(bench.runtime, release);
      await scale(bench.runtime, release, { worker: 2 });
      for (const name of ['worker.1', 'worker.2'])
        await until(async () => (await textOf(bench.runtime, tool, name)).includes('has all'), name);
      assert.deepEqual(await restartsOf(tool), [0, 0]);
      await bench.runtime.stop(tool);
    });
  });
}

/** A tool that answers each message on an upgraded connection with its own random word. */
const namingTool = `
import http.server, os
ID = os.urandom(8).hex().encode()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.headers.get('Upgrade') is None:
            self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers(); return
        self.send_response(101); self.send_header('Upgrade', 'websocket'); self.send_header('Connection', 'Upgrade')
        self.end_headers(); self.wfile.flush()
        while self.connection.recv(100): self.connection.sendall(ID)
        self.close_connection = True
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
`;

async function openSocket(port: number, tool: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(
    `GET / HTTP/1.1\r\nHost: ${tool}.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  const [head] = (await once(socket, 'data')) as [Buffer];
  assert.match(head.toString(), /^HTTP\/1\.1 101 /);
  return socket;
}
