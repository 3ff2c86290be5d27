import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoginQueue } from '../../src/auth/login-queue.ts';

test('threat 9: of 20 simultaneous guesses at one name, only two are checked at once, and another person’s login is checked too', async () => {
  const queue = new LoginQueue();
  const { signal } = new AbortController();
  const mayEnd = Promise.withResolvers<void>();
  let running = 0;
  const guesses = Array.from({ length: 20 }, async (_, index) => {
    const attempt = { login: 'alice', address: `192.0.2.${index + 1}`, isKnown: false };
    const check = async () => {
      running += 1;
      await mayEnd.promise;
      running -= 1;
    };
    await queue.run(attempt, check, signal);
  });
  await new Promise(setImmediate);
  assert.equal(running, 2);
  const bob = { login: 'bob', address: '198.51.100.1', isKnown: false };
  assert.equal(await queue.run(bob, async () => 'checked', signal), 'checked');
  assert.equal(running, 2);
  mayEnd.resolve();
  await Promise.all(guesses);
});
