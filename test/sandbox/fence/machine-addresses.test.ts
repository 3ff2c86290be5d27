import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const child = join(import.meta.dirname, '../../support/programs/without-watch.ts');

test('if the program that watches the machine’s addresses ends while the server has no free file descriptor, the server starts the program again later', async () => {
  const limited = ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath, child];
  const { stdout } = await promisify(execFile)('/bin/sh', limited, { timeout: 60_000 });
  assert.equal(stdout, 'watching\n');
});
