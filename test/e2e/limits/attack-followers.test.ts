import assert from 'node:assert/strict';
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TestServer } from '../../support/server.ts';
import { liveTool } from '../../support/work-tree.ts';

let server: TestServer;
let token: string;
let deployment: string;
before(async () => {
  server = await TestServer.start();
  await liveTool(server, 'followed');
  const made = await server.command('token', 'create', 'followed', 'reader', '--read');
  token = /\b(tfp_\S+|\S{30,})\b/.exec(made.stdout)?.[1] ?? assert.fail(made.stdout + made.stderr);
  const folder = join(server.folder, 'data/deployments/followed');
  const [file = assert.fail()] = await readdir(folder);
  deployment = file.replace('.log', '');
  // Makes the deployment's log as long as after a build with 50 MB of output.
  await appendFile(join(folder, file), `${'x'.repeat(99)}\n`.repeat(500_000));
});
after(async () => server[Symbol.asyncDispose]());

const sockets: Socket[] = [];
after(() => {
  for (const socket of sockets) socket.destroy();
});

/** Sends a command over HTTP, and reads only the beginning of the answer, which it returns. */
function stall(credentials: string, command: string): Promise<string> {
  const port = Number(server.http.split(':')[1]);
  const socket = createConnection({ host: '127.0.0.1', port });
  sockets.push(socket);
  const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
  socket.write(
    `POST /-/command HTTP/1.1\r\nHost: ${server.http}\r\nAuthorization: ${authorization}\r\nContent-Length: ${command.length}\r\n\r\n${command}`,
  );
  return new Promise((resolve) => {
    socket.once('data', (chunk: Buffer) => {
      socket.pause();
      resolve(chunk.toString());
    });
    socket.once('error', () => resolve('broken'));
    socket.once('close', () => resolve('closed'));
  });
}

/** The server's memory in MiB. */
async function memory(): Promise<number> {
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

test('threat 21: of 1,500 clients with one token that ask for a log and read only its beginning, 10 are served, the server’s memory grows by less than 100 MiB, and a maintainer can still read logs', async (context) => {
  const before = await memory();
  const answers: string[] = [];
  for (let count = 0; count < 1500; count += 100) {
    const some = Array.from({ length: 100 }, () =>
      stall(`x:${token}`, `logs followed --build ${deployment}`),
    );
    answers.push(...(await Promise.all(some)));
  }
  await delay(1000);
  const grown = (await memory()) - before;
  const statuses = Map.groupBy(answers, (answer) => answer.slice(0, 12));
  const told = [...statuses].map(([status, { length }]) => `${length} × ${status}`).join(', ');
  assert.ok(grown < 100, `from ${before} MiB by ${grown} MiB: ${told}`);
  assert.equal(statuses.get('HTTP/1.1 200')?.length, 10);
  // On a busy machine, some get another refusal first: the token has too many requests under way.
  const refusals = statuses.get('HTTP/1.1 429') ?? [];
  assert.ok(
    refusals.some((answer) => answer.includes('follows 10 logs')),
    told,
  );
  context.diagnostic(`from ${before.toFixed()} MiB by ${grown.toFixed()} MiB: ${told}`);
  const maintainer = await server.command('logs', 'followed', '-n', '1');
  assert.equal(maintainer.exitCode, 0, maintainer.stderr);
});
