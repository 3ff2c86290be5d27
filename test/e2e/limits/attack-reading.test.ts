import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readingTool } from '../../support/hostile/reading-tool.ts';
import { TestServer } from '../../support/server.ts';
import { liveTool, type WorkTree } from '../../support/work-tree.ts';

const SECONDS = 5;

let server: TestServer;
let tree: WorkTree;
before(async () => {
  server = await TestServer.start();
  await liveTool(server, 'reader', readingTool);
  tree = (await liveTool(server, 'neighbour')).tree;
});
after(async () => server[Symbol.asyncDispose]());

for (const { name, first, block } of [
  {
    name: 'endless bodies in chunks of one byte, sent to a tool',
    first: 'POST /in HTTP/1.1\r\nHost: reader.localhost\r\nTransfer-Encoding: chunked\r\n\r\n',
    block: '1\r\na\r\n',
  },
  {
    name: 'endless bodies in chunks of one byte, sent to the server without a login',
    first: 'POST /-/command HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n',
    block: '1\r\na\r\n',
  },
  {
    name: 'connections that send thousands of requests at once',
    first: '',
    block: 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n',
  },
  {
    name: 'connections that send thousands of requests right after the body of another request',
    first: '',
    block: `POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n${'x'.repeat(2_000)}${'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2_000)}`,
  },
]) {
  test(`threat 55: this attack keeps the server busy for less than 70 % of the time, and another tool and git still answer: ${name}`, async (context) => {
    const attack = fork(join(import.meta.dirname, '../../support/hostile/flood.ts'), {
      env: {
        ...process.env,
        FLOOD: JSON.stringify({ address: server.http, first, block, seconds: SECONDS + 3 }),
      },
    });
    const ended = once(attack, 'exit');
    context.after(async () => {
      attack.kill('SIGKILL');
      await ended;
    });
    await once(attack, 'message');
    const before = server.processorSeconds;
    const startedAt = performance.now();
    while (performance.now() - startedAt < SECONDS * 1000) {
      assert.equal((await server.get('neighbour')).body, 'one');
      await sleep(100);
    }
    const part = ((server.processorSeconds - before) * 1000) / (performance.now() - startedAt);
    context.diagnostic(`${Math.round(part * 100)} % of the time`);
    // Without limits on the time for reading, the server would be busy for more than 90 % of the time.
    assert.ok(part < 0.7, `the server was busy ${Math.round(part * 100)} % of the time`);
    const listed = await tree.git('ls-remote', server.remote('http', 'neighbour'));
    assert.equal(listed.exitCode, 0, listed.stderr);
  });
}
