import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outputOfShell } from '../../../src/sandbox/process/shell.ts';

test('the output of a shell script that measures something is returned even if the script fails', async () => {
  assert.equal(await outputOfShell('echo "$1"; exit 3', ['5']), '5');
});

test('if the shell of a measurement cannot be started or is killed, the result is null', async () => {
  // No argument of a program may be longer than 128 KiB (execve(2)).
  assert.equal(await outputOfShell(':', ['x'.repeat(200_000)]), null);
  assert.equal(await outputOfShell('echo 5; kill -9 $$', []), null);
});
