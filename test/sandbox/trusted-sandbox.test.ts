import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cgroups } from '../../src/sandbox/process/cgroups.ts';
import { argumentsOf, processIds } from '../../src/sandbox/process/process-table.ts';
import { TrustedSandbox } from '../../src/sandbox/trusted-sandbox.ts';
import { dataFolder, runIn } from './sandbox-bench.ts';

test('without control groups, a daemon that clears its environment still ends with the command that started it', {
  timeout: 30_000,
}, async () => {
  await using data = await dataFolder();
  const cgroups = new Cgroups({ instance: 'trusted-test', mount: data.path });
  const sandbox = new TrustedSandbox({ folder: data.path, instance: 'trusted-test', cgroups });
  const number = `9${process.pid}3`;
  const { output, code } = await runIn(sandbox, [
    '/bin/sh',
    '-c',
    `setsid -f env -i /bin/sleep ${number}; echo done`,
  ]);
  assert.deepEqual([output, code], ['done\n', 0]);
  const left = processIds().filter((pid) => argumentsOf(pid).includes(number));
  assert.deepEqual(left, []);
});
