import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const child = join(import.meta.dirname, '../../support/programs/without-watch.ts');

test('after file descriptors ran out, the server watches the machine’s addresses again, and continues', async () => {
  const limited = ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath, child];
  const { stdout } = await promisify(execFile)('/bin/sh', limited, { timeout: 60_000 });
  assert.equal(stdout, 'watching\n');
});
