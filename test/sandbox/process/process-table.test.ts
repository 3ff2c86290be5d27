import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';

const table = resolve(import.meta.dirname, '../../../src/sandbox/process/process-table.ts');

test('threat 60: a signal to process 0, the number with which cgroup.procs lists processes of other namespaces, does not end the server’s own process group', async () => {
  const script = `const { signal } = await import(${JSON.stringify(table)}); signal(0, 'SIGKILL'); signal(-0, 'SIGKILL'); console.log('alive')`;
  const { stdout } = await execa(process.execPath, ['--input-type=module', '--eval', script], {
    detached: true,
    reject: false,
  });
  assert.equal(stdout, 'alive');
});
