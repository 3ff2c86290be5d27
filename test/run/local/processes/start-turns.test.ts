import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { toolName } from '../../../../src/core/names.ts';
import { StartTurns } from '../../../../src/run/local/processes/start-turns.ts';

const [many, few] = [toolName('many'), toolName('few')].map((name) => name ?? assert.fail());

test('threat 210: scheduled runs start one after the other, with a pause after each start, and a tool with many runs does not hold up the first run of another tool', async () => {
  assert.ok(many !== undefined && few !== undefined);
  const turns = new StartTurns(StartTurns.RUNS);
  const seen: { name: string; at: number }[] = [];
  let underWay = 0;
  const start = (name: string) => async () => {
    underWay += 1;
    assert.equal(underWay, 1);
    await wait(20);
    underWay -= 1;
    seen.push({ name, at: performance.now() });
    return name;
  };
  const started = [
    ...Array.from({ length: 6 }, (_, index) => turns.run(many, start(`many ${index}`))),
    turns.run(few, start('few')),
  ];
  assert.equal(await started[0], 'many 0');
  await Promise.all(started);
  assert.deepEqual(
    seen.slice(0, 3).map(({ name }) => name),
    ['many 0', 'few', 'many 1'],
  );
  const [first, last] = [seen[0]?.at ?? 0, seen.at(-1)?.at ?? 0];
  // A start takes 20 ms, and the pause after it 60 ms.
  assert.ok(last - first > 6 * 70, `seven starts took ${last - first} ms`);
});

test('threat 210: if the start of a scheduled run never ends, or fails, the next start is not held up', async () => {
  assert.ok(many !== undefined && few !== undefined);
  const turns = new StartTurns(StartTurns.RUNS);
  void turns.run(many, () => new Promise(() => {}));
  const failed = turns.run(few, async () => {
    throw new Error('no process');
  });
  await assert.rejects(failed, /no process/);
  assert.equal(await turns.run(many, async () => 'started'), 'started');
});
