import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { TimeShares } from '../../../src/core/fair-share/time-shares.ts';

function busy(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

/** Does one piece of work of `ms` after the other, until the abort signal fires. @returns the sum, in milliseconds. */
async function work(shares: TimeShares, name: string, ms: number, signal: AbortSignal): Promise<number> {
  let count = 0;
  while (!signal.aborted) {
    await shares.run(name, () => busy(ms));
    count += 1;
  }
  return count * ms;
}

test('background work with a share of 25 % takes less than 35 % of the time, and a first piece of work starts immediately', async () => {
  const shares = new TimeShares({ part: 0.25, sliceMs: 4 });
  let isDone = false;
  const first = shares.run('one', () => {
    isDone = true;
  });
  assert.ok(isDone);
  await first;
  const end = AbortSignal.timeout(1000);
  const all = await Promise.all(['one', 'two', 'three'].map((name) => work(shares, name, 2, end)));
  const worked = all.reduce((sum, ms) => sum + ms, 0);
  assert.ok(worked < 350, `${worked} of 1000 ms`);
});

test('threat 240: other work and the event loop get their turns between the steps of long work', async () => {
  const shares = new TimeShares({ part: 1, sliceMs: 2 });
  let steps = 0;
  const long = shares.runSteps(
    'long',
    (function* () {
      for (; steps < 50; steps++) {
        busy(1);
        yield;
      }
      return 'done';
    })(),
  );
  await shares.run('short', () => {});
  assert.ok(steps < 10, `${steps} steps`);
  assert.equal(await long, 'done');
  assert.equal(steps, 50);
});

test('time in which other programs have the processor during background work does not count for the share of this work', async () => {
  const shares = new TimeShares({ part: 0.25, sliceMs: 4 });
  const startedAt = performance.now();
  // This work sleeps and uses no processor time, as if other programs had the processor.
  for (let count = 0; count < 5; count += 1) {
    await shares.run('one', () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100));
  }
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 1500, `${tookMs} ms`);
});

test('threat 55: on a machine that is busy with other programs, the server can serve requests after fewer than ten pieces of waiting background work', async () => {
  const shares = new TimeShares({ part: 0.25, sliceMs: 4 });
  let [done, atTurn, most] = [0, 0, 0];
  const turns = setInterval(() => {
    most = Math.max(most, done - atTurn);
    atTurn = done;
  }, 1);
  await shares.run('one', () => busy(20));
  // This work sleeps and uses no processor time, as if other programs had the processor.
  const sleep = () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    done += 1;
  };
  await Promise.all(Array.from({ length: 40 }, (_, index) => shares.run(`${index % 4}`, sleep)));
  await wait(50);
  clearInterval(turns);
  assert.ok(most < 10, `${most} pieces of work without a pause`);
});

test('threat 113: on a machine that is busy with other programs, the server can serve requests between two pieces of background work that follow one another', async () => {
  const shares = new TimeShares({ part: 0.25, sliceMs: 4 });
  // This work sleeps and uses no processor time, as if other programs had the processor.
  const sleep = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  for (let count = 0; count < 5; count += 1) await shares.run('one', () => sleep(100));
  await wait(500);
  let turns = 0;
  const turn = () => {
    turns += 1;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  for (let count = 0; count < 10; count += 1) await shares.run('one', () => sleep(5));
  clearImmediate(next);
  assert.ok(turns >= 9, `${turns}`);
});

test('threat 55: a tool that makes much background work for the server leaves other tools their share of the time', async () => {
  const shares = new TimeShares({ part: 0.5, sliceMs: 4 });
  const end = AbortSignal.timeout(2000);
  const many = Promise.all(Array.from({ length: 20 }, () => work(shares, 'many', 3, end)));
  const [one, other] = [await work(shares, 'one', 1, end), (await many).reduce((sum, ms) => sum + ms, 0)];
  // Without shares, `one` would get a sixtieth of the time of `many`. On a busy machine, both lose time.
  assert.ok(one > 0.3 * other, `${one} ms beside ${other} ms`);
});

test('threat 55: a tool’s single line arrives within 200 ms while another tool prints without a pause', async () => {
  const shares = new TimeShares({ part: 0.25, sliceMs: 4 });
  const end = new AbortController();
  const noisy = Array.from({ length: 20 }, () => work(shares, 'noisy', 5, end.signal));
  await wait(200);
  const startedAt = performance.now();
  await shares.run('quiet', () => {});
  const tookMs = performance.now() - startedAt;
  end.abort();
  await Promise.all(noisy);
  assert.ok(tookMs < 200, `${tookMs} ms`);
});

test('an error in a piece of background work goes to the caller of this piece, and the next piece runs', async () => {
  const shares = new TimeShares({ part: 0.25, sliceMs: 4 });
  await assert.rejects(
    shares.run('one', () => {
      throw new Error('no');
    }),
    /^Error: no$/,
  );
  assert.equal(await shares.run('one', () => 7), 7);
});
