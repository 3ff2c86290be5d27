import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ToolsQuota } from '../../../src/sandbox/process/tools-quota.ts';
import { dataFolder } from '../sandbox-bench.ts';

/** A plain folder that looks like a control group of version 2, inside a group that may use one processor. */
async function quotaOfOneProcessor(root: string) {
  const folder = join(root, 'tools');
  await mkdir(folder);
  await writeFile(join(root, 'cpu.max'), '100000 100000\n');
  let periods = 0;
  let stopped = 0;
  return {
    quota: new ToolsQuota(folder, 2, root),
    text: async () => await readFile(join(folder, 'cpu.max'), 'utf8'),
    /** As if 50 more periods had passed, and the tools had used up their part in `ofThemStopped` of them. */
    count: async (ofThemStopped: number) => {
      periods += 50;
      stopped += ofThemStopped;
      await writeFile(join(folder, 'cpu.stat'), `nr_periods ${periods}\nnr_throttled ${stopped}\n`);
    },
  };
}

test('threat 261: all tools together get nearly all processor time that the server may use, and less while the server waits and the tools use up their part', async () => {
  await using data = await dataFolder();
  const { quota, text, count } = await quotaOfOneProcessor(data.path);
  quota.apply();
  assert.equal(await text(), '19000 20000');
  await count(50);
  quota.look(1000, 0);
  for (const [waitedMs, expected] of [
    [900, '15000 20000'],
    [1800, '10000 20000'],
    [2700, '5000 20000'],
    [3600, '5000 20000'],
  ] as const) {
    await count(50);
    quota.look(1000 + (waitedMs / 900) * 1000, waitedMs);
    assert.equal(await text(), expected);
  }
  // The server does not wait any more, so the tools get the next larger part every 30 s.
  for (const [atMs, expected] of [
    [6000, '5000 20000'],
    [36_000, '10000 20000'],
    [37_000, '10000 20000'],
    [67_000, '15000 20000'],
    [98_000, '19000 20000'],
    [129_000, '19000 20000'],
  ] as const) {
    await count(50);
    quota.look(atMs, 3600);
    assert.equal(await text(), expected);
  }
});

test('the tools keep their part if the server waits for other programs, or does not wait', async () => {
  await using data = await dataFolder();
  const { quota, text, count } = await quotaOfOneProcessor(data.path);
  quota.apply();
  quota.look(0, 0);
  await count(10);
  quota.look(1000, 900);
  await count(50);
  quota.look(2000, 1000);
  assert.equal(await text(), '19000 20000');
});
