import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { endMarked, PROCESS_VARIABLE } from '../../../src/sandbox/process/marked-processes.ts';
import { signal } from '../../../src/sandbox/process/process-table.ts';

test('threat 60: while the server searches hundreds of processes for leftovers of a sandbox, it stays responsive', {
  skip: process.platform !== 'linux',
}, async () => {
  const many = 'i=0; while [ $i -lt 400 ]; do sleep 60 & i=$((i + 1)); done; echo ready; wait';
  const crowd = spawn('sh', ['-c', many], { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  await once(crowd.stdout, 'data');
  let turns = 0;
  const count = () => {
    turns += 1;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  assert.deepEqual(await endMarked(PROCESS_VARIABLE, 'of nobody'), []);
  clearImmediate(next);
  signal(-(crowd.pid ?? 0), 'SIGKILL');
  assert.ok(turns > 5, `${turns} turns`);
});
