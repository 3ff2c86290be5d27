import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestTime } from '../../../src/core/fair-share/request-time.ts';

/** Counts requests of a network one after the other. @returns how long the last of them has to wait, in milliseconds. */
function last(time: RequestTime, network: string, requests: number): number {
  let waitMs = 0;
  for (let count = 0; count < requests; count += 1) waitMs = time.waitMs(network);
  return waitMs;
}

test('threat 155: the first 500 requests of a network begin at once, and later ones wait, but at most 2 s; other networks do not wait', () => {
  const time = new RequestTime(() => 0);
  assert.equal(last(time, '192.0.2.1', 500), 0);
  const waitMs = last(time, '192.0.2.1', 100);
  assert.ok(waitMs > 100 && waitMs < 340, `${waitMs}`);
  assert.ok(Math.abs(last(time, '192.0.2.1', 10_000) - 2000) < 50);
  assert.equal(last(time, '192.0.2.2', 500), 0);
});

test('threat 155: the less a request costs the server, the more requests of a network may begin', async () => {
  const time = new RequestTime(() => 0);
  for (let count = 0; count < 5; count += 1) {
    last(time, '192.0.2.1', 1);
    await new Promise((resolve) => setTimeout(resolve, 260));
  }
  // A request counts as at least 0.05 ms, and a network gets 30 % of the time. So up to 600 requests may begin in 0.1
  // s.
  assert.equal(last(time, '192.0.2.3', 500), 0);
  assert.ok(last(time, '192.0.2.3', 100) < 60);
});
