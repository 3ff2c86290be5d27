import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SteadyTime } from '../../src/core/steady-time.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

test('threat 167: if the clock jumps forward and back within an hour, the server ignores the jump; if the clock stays ahead, the server takes the new time after an hour', () => {
  const begun = Date.UTC(2026, 11, 1);
  const [wall, sinceStart] = [{ ms: begun }, { ms: 5000 }];
  const pass = (ms: number) => {
    wall.ms += ms;
    sinceStart.ms += ms;
  };
  const time = new SteadyTime(
    () => wall.ms,
    () => sinceStart.ms,
  );
  assert.equal(time.now(), 0, 'the clock may be wrong at the start');
  assert.equal(time.now(begun - 2 * DAY_MS), 0, 'the clock may have jumped since this time');
  assert.equal(time.now(begun + HOUR_MS), 0, 'the clock is wrong');
  assert.equal(time.now(begun - HOUR_MS), begun);
  pass(HOUR_MS);
  assert.equal(time.now(), begun + HOUR_MS);
  wall.ms += 30 * DAY_MS;
  assert.equal(time.now(), begun + HOUR_MS);
  pass(HOUR_MS / 2);
  assert.equal(time.now(), begun + 1.5 * HOUR_MS);
  wall.ms -= 30 * DAY_MS;
  pass(HOUR_MS);
  assert.equal(time.now(), begun + 2.5 * HOUR_MS);

  // The clock goes back by a day: it was fast before, so the server takes the earlier time at once.
  wall.ms -= DAY_MS;
  assert.equal(time.now(), begun + 2.5 * HOUR_MS - DAY_MS);
  wall.ms += 2 * DAY_MS;
  assert.equal(time.now(), begun + 2.5 * HOUR_MS - DAY_MS);
  for (let count = 0; count < 3; count += 1) {
    pass(HOUR_MS);
    time.now();
  }
  assert.equal(time.now(), wall.ms);
});
