import assert from 'node:assert/strict';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { OneOffPipes } from '../../../src/run/local/one-off-pipes.ts';
import type { Sandbox } from '../../../src/sandbox/sandbox.ts';

test('a window that is resized without end, where nobody inside reads, fills no memory', async () => {
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
      try {
        const count = readSync(reader, buffer);
        bytes += count;
        text = buffer.toString('latin1', 0, count);
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
      }
    }
    closeSync(reader);
    assert.ok(bytes < 100_000, `${bytes} bytes of sizes were kept`);
  } finally {
    await rm(parent, { recursive: true });
  }
});
