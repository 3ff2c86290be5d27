import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReadingTime } from '../../../src/core/fair-share/reading-time.ts';

const KIB = 1024;

/** Spends `ms` of reading time in pieces of 5 ms, each in its own round of the event loop. */
async function spend(time: ReadingTime, key: string, ms: number): Promise<void> {
  for (let spent = 0; spent < ms; spent += 5) {
    time.begin();
    time.spend(key, { spentMs: 5, bytes: KIB, begun: 0 });
    await new Promise(setImmediate);
  }
}

test('a client whose ordinary input takes a third of the server’s time is not slowed down', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  for (let round = 0; round < 100; round++) {
    for (let piece = 0; piece < 25; piece++) time.spend('one', { spentMs: 0.08, bytes: 16 * KIB, begun: 0 });
    for (let request = 0; request < 50; request++) time.spend('one', { spentMs: 0.7, bytes: 400, begun: 1 });
    await sleep(6);
  }
  assert.equal(time.waitMs('one'), 0);
});

test('threat 237: a client whose bytes cost ten times as much to read as usual must wait, even if it sends many of them', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  for (let piece = 0; piece < 200; piece++) {
    time.begin();
    time.spend('one', { spentMs: 0.6, bytes: 12 * KIB, begun: 0 });
    await new Promise(setImmediate);
  }
  const waitMs = time.waitMs('one');
  assert.ok(waitMs > 800 && waitMs < 1_200, `${waitMs} ms`);
});

test('threat 237: reading from one tool or address takes at most half of the time, even if its bytes cost no more than usual', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  // Of these 500 ms, a fifth counts: 100 ms. The debt falls by 1 ms in 10 ms, and a key may owe 10 ms. So it waits 900
  // ms.
  for (let piece = 0; piece < 1000; piece++) time.spend('one', { spentMs: 0.5, bytes: 100 * KIB, begun: 0 });
  const waitMs = time.waitMs('one');
  assert.ok(waitMs > 600 && waitMs <= 900, `${waitMs} ms`);
});

test('threat 237: a client that begins many key exchanges must wait, even if each takes less than a millisecond, in its own round of the event loop', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  for (let exchange = 0; exchange < 200; exchange++) {
    time.begin();
    time.spend('one', { spentMs: 0.8, bytes: 700, begun: 0 });
    await new Promise(setImmediate);
  }
  assert.ok(time.waitMs('one') > 1_000, `${time.waitMs('one')} ms`);
});

test('threat 55: a client waits five to ten times as long as the server took to read its costly input; nobody else waits', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  await spend(time, 'one', 100);
  const waitMs = time.waitMs('one');
  assert.ok(waitMs > 500 && waitMs < 1000, `${waitMs} ms`);
  assert.equal(time.waitMs('other'), 0);
  await sleep(waitMs + 20);
  assert.equal(time.waitMs('one'), 0);
});

test('threat 55: when 50 clients send input that costs much time, the last of them waits more than 4 s', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  for (let number = 0; number < 50; number++) await spend(time, `key ${number}`, 50);
  // The server counts the waiting clients anew at most once a millisecond.
  await sleep(2);
  const waitMs = time.waitMs('key 49');
  assert.ok(waitMs > 4_000, `${waitMs} ms`);
});

test('threat 55: beside a thousand addresses with cheap input, one address with costlier input waits less than 500 ms', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  for (let number = 0; number < 1000; number++) {
    time.begin();
    time.spend(`key ${number}`, { spentMs: 3, bytes: KIB, begun: 0 });
  }
  await new Promise(setImmediate);
  await spend(time, 'one', 20);
  await sleep(2);
  const waitMs = time.waitMs('one');
  assert.ok(waitMs < 500, `${waitMs} ms`);
});

test('a single read of a client’s input that takes 8 ms is not counted, because the garbage collector may have run meanwhile', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  time.spend('one', { spentMs: 8, bytes: KIB, begun: 0 });
  assert.equal(time.waitMs('one'), 0);
});

test('if the server reads many small messages of a client in one round of the event loop, their times are added up, and the client must wait', async () => {
  const time = new ReadingTime(() => performance.now() * 1e6);
  for (let message = 0; message < 2_000; message++) time.spend('one', { spentMs: 0.03, bytes: 1, begun: 0 });
  assert.ok(time.waitMs('one') > 100);
});

test('time that other programs take on a busy machine is not counted as reading time', async () => {
  const time = new ReadingTime(() => 0);
  await spend(time, 'one', 100);
  assert.equal(time.waitMs('one'), 0);
});

test('threat 55: if a client sends several requests in one packet, the time that the server needs to answer them is charged to this client, like time for reading', async () => {
  let usedMs = 0;
  const time = new ReadingTime(() => usedMs);
  for (let round = 0; round < 10; round++) {
    time.begin();
    time.spend('one', { spentMs: 1, bytes: KIB, begun: 40 });
    time.spend('other', { spentMs: 0.1, bytes: 100, begun: 1 });
    usedMs += 30;
    await new Promise(setImmediate);
  }
  assert.ok(time.waitMs('one') > 1_000, `${time.waitMs('one')} ms`);
  assert.equal(time.waitMs('other'), 0);
});
