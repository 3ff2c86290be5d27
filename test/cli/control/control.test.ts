import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import type { CommandContext, CommandLine, Services } from '../../../src/cli/command.ts';
import { holdCleanUpCommand } from '../../../src/cli/commands/operator/hold-clean-up.ts';
import { holdCleanUp } from '../../../src/cli/control/clean-up-client.ts';
import { callControl } from '../../../src/cli/control/control-client.ts';
import { readRequest, requestLine, serveControl } from '../../../src/cli/control/control-protocol.ts';
import { CleanUpHold } from '../../../src/core/concurrency/clean-up-hold.ts';
import { createLog } from '../../../src/core/log/log.ts';
import { LocalSocket } from '../../../src/local-socket/local-socket.ts';
import { until } from '../../support/server.ts';

type Line = Omit<CommandLine, 'services' | 'principal'>;

const folder = mkdtempSync(join(tmpdir(), 'control-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let run: (line: Line) => Promise<number>;
let server: LocalSocket;
let socketPath: string;
let count = 0;
beforeEach(async () => {
  socketPath = join(folder, `${count++}`, 'server.sock');
  server = new LocalSocket({
    path: socketPath,
    log: createLog('silent'),
    serve: ({ socket, firstLine, rest }) => serveControl(socket, firstLine, rest, (line) => run(line), 20),
  });
  await server.listen();
});
afterEach(() => server.close());

async function call(argv: readonly string[], input: AsyncIterable<Uint8Array> | null = null) {
  const said = { out: '', err: '' };
  const hear = (kind: 'out' | 'err') => async (bytes: Uint8Array) => {
    said[kind] += Buffer.from(bytes).toString();
  };
  const status = await callControl({ socketPath, argv, input, out: hear('out'), err: hear('err') });
  return { status, ...said };
}

test('the local socket passes on the words, output, error output and exit status of a command unchanged', {
  timeout: 20_000,
}, async () => {
  run = async ({ argv, out, err }) => {
    await out(JSON.stringify(argv));
    await err('nö\n');
    await out('x'.repeat(500_000));
    return 42;
  };
  const argv = ['config', 'set', 'wikibot', 'A=b "c" \n d', ''];
  assert.deepEqual(await call(argv), {
    status: 42,
    out: JSON.stringify(argv) + 'x'.repeat(500_000),
    err: 'nö\n',
  });
});

test('standard input reaches a command on the local socket completely', { timeout: 20_000 }, async () => {
  run = async ({ input, out }) => {
    let bytes = 0;
    for await (const chunk of input) bytes += chunk.byteLength;
    await out(String(bytes));
    return 0;
  };
  async function* input() {
    for (let index = 0; index < 30; index++) yield Buffer.alloc(10_007);
  }
  assert.equal((await call(['a', '-'], input())).out, '300210');
  assert.equal((await call(['a'])).out, '0');
});

test('a command on the local socket can answer without reading all of its input', {
  timeout: 20_000,
}, async () => {
  async function* endless() {
    for (;;) yield Buffer.alloc(50_000);
  }
  run = async () => 3;
  assert.equal((await call(['a', '-'], endless())).status, 3);
  run = async ({ input }) => {
    for await (const _ of input) break;
    return 4;
  };
  assert.equal((await call(['a', '-'], endless())).status, 4);
});

test('if the client of a command on the local socket has left, the abort signal of the command fires, and its writes no longer wait', {
  timeout: 20_000,
}, async () => {
  const ended = Promise.withResolvers<boolean>();
  run = async ({ out, signal }) => {
    await out('started');
    while (!signal.aborted) await out('x'.repeat(100_000));
    await out('more');
    ended.resolve(signal.aborted);
    return 0;
  };
  const socket = connect(socketPath);
  socket.write(requestLine(['logs']));
  await once(socket, 'readable');
  socket.destroy();
  assert.equal(await ended.promise, true);
});

test('the server notices that the client of a local command has left even if the command prints nothing', {
  timeout: 20_000,
}, async () => {
  const ended = Promise.withResolvers<void>();
  run = async ({ out, signal }) => {
    await out('started');
    await once(signal, 'abort');
    ended.resolve();
    return 0;
  };
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  socket.end(requestLine(['logs']));
  await once(socket, 'readable');
  socket.destroy();
  await ended.promise;
});

test('a client that stops reading makes the local command wait, and no output is lost', {
  timeout: 20_000,
}, async () => {
  let isDone = false;
  run = async ({ out }) => {
    for (let index = 0; index < 100; index++) await out('x'.repeat(60_000));
    isDone = true;
    return 0;
  };
  let bytes = 0;
  let wasHeld = false;
  const status = await callControl({
    socketPath,
    argv: ['logs'],
    input: null,
    out: async (chunk) => {
      if (bytes === 0) for (let turn = 0; turn < 50; turn++) await new Promise((go) => setImmediate(go));
      if (bytes === 0) wasHeld = !isDone;
      bytes += chunk.byteLength;
    },
    err: async () => {},
  });
  assert.deepEqual({ status, bytes, wasHeld }, { status: 0, bytes: 6_000_000, wasHeld: true });
});

test('a bug in a local command is reported to the client as a fault of the server, without details', async () => {
  run = () => Promise.reject(new Error('s3cret path /etc'));
  const { status, out, err } = await call(['ps']);
  assert.equal(status, 1);
  assert.equal(out, '');
  assert.equal(err, ' !     This is a fault of the server. The log of the server says more.\n');
});

for (const { name, line } of [
  { name: 'text that is not JSON', line: 'ps wikibot' },
  { name: 'an object without words', line: '{}' },
  { name: 'a number in place of a word', line: '{"argv":[1]}' },
  { name: 'an unknown field', line: '{"argv":["ps"],"principal":"root"}' },
]) {
  test(`the local socket refuses a first line with ${name}`, async () => {
    run = async () => assert.fail('it ran');
    assert.equal(readRequest(line), null);
    const socket = connect(socketPath);
    socket.end(`${line}\n`);
    const chunks = await Array.fromAsync(socket as AsyncIterable<Buffer>);
    const answer = Buffer.concat(chunks);
    assert.match(answer.toString('latin1'), /does not understand/);
    assert.deepEqual([...answer.subarray(-6)], [0x78, 0, 0, 0, 1, 2]);
  });
}

test('the local binary has different error codes for a missing server and for a server that ends during a command', {
  timeout: 20_000,
}, async () => {
  run = async ({ out, signal }) => {
    await out('started');
    setImmediate(() => void server.close());
    await once(signal, 'abort');
    return 0;
  };
  await assert.rejects(call(['ps']), { code: 'SERVER_GONE' });
  await assert.rejects(call(['ps']), { code: 'NO_SERVER', hint: /npm start/ });
  await server.listen();
});

test('threat 59: a deleted socket file is made again by the running server, and open connections continue', async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  run = async ({ argv }) => (argv[0] === 'long' ? await promise : 7);
  const long = call(['long']);
  assert.equal((await call(['short'])).status, 7);
  rmSync(dirname(socketPath), { recursive: true });
  await assert.rejects(call(['short']), { code: 'NO_SERVER' });
  await until(async () => (await call(['short']).catch(() => null))?.status === 7, 'it is there again');
  resolve(5);
  assert.equal((await long).status, 5);
});

test('if the pause in which the server deletes no files ends before a backup is complete, the backup fails with the error NOT_HELD', {
  timeout: 20_000,
}, async () => {
  const cleanUp = new CleanUpHold();
  let ran = 0;
  const tidy = () =>
    cleanUp.unlessHeld(async () => {
      ran += 1;
    });
  const limit = new AbortController();
  run = async ({ input, out, err, signal }) => {
    const context: Partial<CommandContext> = {
      ...{ input, err, signal: AbortSignal.any([signal, limit.signal]) },
      services: { cleanUp } as Services,
      out: async (text) => void (await out(text)),
    };
    return await holdCleanUpCommand.run(context as CommandContext);
  };
  const whole = await holdCleanUp(socketPath);
  await tidy();
  assert.equal(ran, 0);
  await whole?.();
  await tidy();
  assert.equal(ran, 1);
  const cut = await holdCleanUp(socketPath);
  limit.abort();
  await assert.rejects(async () => cut?.(), { code: 'NOT_HELD', message: /until the backup was complete/ });
  await tidy();
  assert.equal(ran, 2);
});
