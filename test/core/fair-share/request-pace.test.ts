import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestPace } from '../../../src/core/fair-share/request-pace.ts';

const { signal } = new AbortController();

/** Takes turns for the person at the same moment. @returns after how many milliseconds the last one came. */
async function take(pace: RequestPace, uid: string, turns: number, until = signal): Promise<number> {
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: turns }, () => pace.turn(uid, until)));
  return performance.now() - startedAt;
}

test('threat 145: after a burst of requests of one person, the next requests of this person begin one after the other; nobody else waits', async () => {
  const pace = new RequestPace({ burst: 10, perSecond: 100 });
  const busy = take(pace, 'alice', 40);
  assert.ok((await take(pace, 'bob', 10)) < 100);
  assert.ok((await busy) > 290);
});

test('threat 145: if a client of a person sends requests and disconnects again and again, the person’s later requests do not wait ever longer', async () => {
  const pace = new RequestPace({ burst: 1, perSecond: 10 });
  await take(pace, 'alice', 1);
  for (let count = 0; count < 100; count += 1) {
    const gone = new AbortController();
    const asked = take(pace, 'alice', 1, gone.signal);
    gone.abort();
    await assert.rejects(asked, { name: 'AbortError' });
  }
  assert.ok((await take(pace, 'alice', 1)) < 1000);
});
