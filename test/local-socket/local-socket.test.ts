import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createLog } from '../../src/core/log/log.ts';
import { LocalSocket } from '../../src/local-socket/local-socket.ts';
import { until } from '../support/server.ts';

interface Line {
  readonly level: string;
  readonly msg: string;
}

/** A listening socket. `look` makes it look at its file, as it does every two seconds. */
async function listening(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const folder = mkdtempSync(join(tmpdir(), 'local-socket-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'run/server.sock');
  const lines: Line[] = [];
  const log = createLog('info', { write: (text) => void lines.push(JSON.parse(text)) });
  const socket = new LocalSocket({ path, log, serve: async () => undefined });
  await socket.listen();
  t.after(() => socket.close());
  return { socket, path, lines, look: () => t.mock.timers.tick(2000) };
}

test('threat 59: if the local socket cannot take a connection, the server logs this, and the file of the socket stays', async (t) => {
  const listen = t.mock.method(Server.prototype, 'listen');
  const { path, lines } = await listening(t);
  const server = listen.mock.calls[0]?.this as Server;
  // Node emits this if accept(2) fails, for example because the process has too many open files.
  server.emit('error', new Error('accept EMFILE'));
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [['error', 'the socket cannot take a connection']],
  );
  assert.equal(existsSync(path), true);
});

test('threat 59: a server that closes its local socket while it makes the deleted socket file again does not delete the socket file of the next server', async (t) => {
  const { socket, path, lines, look } = await listening(t);
  rmSync(path);
  look();
  await socket.close();
  // From now on, the next server may have its socket there.
  writeFileSync(path, 'of the next server');
  await delay(100);
  assert.equal(existsSync(path), true, 'the file of the next server stays');
  assert.deepEqual(lines, []);
});

test('threat 59: if the deleted file of the local socket cannot be made again, the server logs this once, and logs later that the file is back', async (t) => {
  const { path, lines, look } = await listening(t);
  const folder = dirname(path);
  rmSync(folder, { recursive: true });
  writeFileSync(folder, 'no folder');
  for (let count = 0; count < 4; count += 1) {
    look();
    await delay(50);
  }
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [['error', 'the socket was deleted, and cannot be made again yet']],
  );
  rmSync(folder);
  look();
  await until(async () => lines.length >= 3, 'it is made again');
  assert.deepEqual(
    lines.slice(1).map(({ level, msg }) => [level, msg]),
    [
      ['warn', 'the socket was deleted, and is made again'],
      ['info', 'trouble is over'],
    ],
  );
});
