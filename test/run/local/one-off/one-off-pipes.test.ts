import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { OneOffPipes } from '../../../../src/run/local/one-off/one-off-pipes.ts';
import { holdersOf, processIds } from '../../../../src/sandbox/process/process-table.ts';
import type { Sandbox } from '../../../../src/sandbox/sandbox.ts';

test('a terminal size that is sent before a one-off command opens its pipe is not lost', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'pipes-'));
  try {
    await using pipes = await OneOffPipes.make(parent, 1, { own: async () => {} } as unknown as Sandbox);
    pipes.resize({ columns: 55, rows: 11 });
    await wait(50);
    pipes.resize({ columns: 56, rows: 12 });
    const reader = openSync(join(pipes.mount.source, 'size'), constants.O_RDONLY | constants.O_NONBLOCK);
    const buffer = Buffer.alloc(1024);
    let text = '';
    for (const end = performance.now() + 5000; text !== '11 55\n12 56\n' && performance.now() < end; ) {
      await wait(5);
      text += buffer.toString('latin1', 0, readSome(reader, buffer));
    }
    assert.equal(text, '11 55\n12 56\n');
    pipes.hangUp();
    await wait(50);
    assert.equal(readSync(reader, buffer), 0, 'the end is not seen');
    closeSync(reader);
  } finally {
    await rm(parent, { recursive: true });
  }
});

test('resizing a terminal endlessly fills no memory, even if nothing in the sandbox reads the sizes', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'pipes-'));
  try {
    await using pipes = await OneOffPipes.make(parent, 1, { own: async () => {} } as unknown as Sandbox);
    for (let count = 1; count <= 100_000; count += 1) pipes.resize({ columns: count, rows: 24 });
    pipes.resize({ columns: 99, rows: 33 });
    const reader = openSync(join(pipes.mount.source, 'size'), constants.O_RDONLY | constants.O_NONBLOCK);
    const buffer = Buffer.alloc(64 * 1024);
    let [bytes, text] = [0, ''];
    while (!text.endsWith('33 99\n')) {
      await turn();
      const count = readSome(reader, buffer);
      bytes += count;
      if (count > 0) text = buffer.toString('latin1', 0, count);
    }
    closeSync(reader);
    assert.ok(bytes < 100_000, `${bytes} bytes of sizes were kept`);
  } finally {
    await rm(parent, { recursive: true });
  }
});

test('if the folder of a one-off command cannot be given to the tool, the command leaves no open file and no folder', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'pipes-'));
  const own = () => Promise.reject(new Error('no'));
  try {
    const before = await readdir('/proc/self/fd');
    for (let count = 0; count < 5; count += 1)
      await assert.rejects(OneOffPipes.make(parent, 1, { own } as unknown as Sandbox));
    const after = await readdir('/proc/self/fd');
    assert.ok(after.length < before.length + 5, `${before.length} descriptors became ${after.length}`);
    assert.deepEqual(await readdir(parent), []);
  } finally {
    await rm(parent, { recursive: true });
  }
});

test('threat 150: child processes, not the server itself, open the pipes of a command, and they end with the command', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'pipes-'));
  try {
    const pipes = await OneOffPipes.make(parent, 1, { own: async () => {} } as unknown as Sandbox);
    const { folder } = pipes;
    const opening = spawn('/bin/sh', ['-c', 'cat <"$1/in" >"$1/out"', 'sh', folder], { stdio: 'ignore' });
    pipes.input.write('said');
    assert.equal(String((await once(pipes.output, 'data'))[0]), 'said');
    const held = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    assert.deepEqual(
      held.filter((path) => path.startsWith(folder)),
      [],
    );
    assert.ok(holdersOf(`${folder}/in`).length > 0);
    pipes.input.end();
    await once(pipes.output, 'end');
    if (opening.exitCode === null) await once(opening, 'exit');
    await pipes[Symbol.asyncDispose]();
    const inFolder = async () =>
      await Promise.all(processIds().map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
    const end = performance.now() + 5000;
    while ((await inFolder()).some((path) => path.startsWith(folder))) {
      assert.ok(performance.now() < end, 'a program is left');
      await wait(10);
    }
  } finally {
    await rm(parent, { recursive: true });
  }
});

/** Reads from a pipe without waiting. @returns the number of bytes read, or 0 if the pipe is empty. */
function readSome(reader: number, buffer: Buffer): number {
  try {
    return readSync(reader, buffer);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
    return 0;
  }
}
