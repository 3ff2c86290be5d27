import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { progressTo } from '../../src/core/progress.ts';
import { makeStack } from '../../src/stack/make-stack.ts';
import { madeAfter, type Stack } from '../../src/stack/stacks.ts';
import { isRoot } from '../sandbox/sandbox-bench.ts';

function hasMmdebstrap(): boolean {
  try {
    execFileSync('which', ['mmdebstrap']);
    return true;
  } catch {
    return false;
  }
}
const skip = !(isRoot && hasMmdebstrap()) && 'needs root and mmdebstrap';

test('threat 82: the lock of a killed `stack make` does not stop the next `stack make`, even if another process now has the process id in the lock', {
  skip,
}, async () => {
  const data = await mkdtemp(join(tmpdir(), 'make-stack-'));
  try {
    await mkdir(join(data, 'stacks/making'), { recursive: true });
    // The processes with these numbers run (this process and process 1), but neither has written the lock.
    for (const lock of [String(process.pid), '1 12345678901']) {
      await writeFile(join(data, 'stacks/making/pid'), lock);
      const list = { suite: 'trixie', packages: { run: [], build: [] }, hash: 'x' };
      // Nothing listens on port 1, so the packages cannot be fetched.
      const made = makeStack({
        ...{ data, list, mirror: 'http://127.0.0.1:1/debian', progress: progressTo(() => {}) },
      });
      await assert.rejects(made, { code: 'STACK_NOT_MADE', message: /cannot be reached/ });
    }
  } finally {
    await rm(data, { recursive: true });
  }
});

test('threat 84: a stack that is made after the clock was set back counts as the newest stack', () => {
  const stack: Stack = { id: 'trixie-1', name: 'trixie', version: 1, packages: 'x', madeAt: 2000 };
  assert.equal(madeAfter([stack], 1000), 2001);
  assert.equal(madeAfter([stack], 3000), 3000);
  assert.equal(madeAfter([], 1000), 1000);
});
