import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoginQueue } from '../../src/auth/login-queue.ts';

test('threat 9: of 20 simultaneous logins with one name, only two are checked at once, and a login of another person is checked meanwhile', async () => {
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

test('threat 9: if the queue of logins is full of people who have not logged in lately, a new login replaces the one that has waited longest', async () => {
  const queue = new LoginQueue();
  const over = new AbortController();
  const refused: number[] = [];
  const strangers = Array.from({ length: 1006 }, async (_, index) => {
    const address = `10.${index >> 8}.${index & 255}.1`;
    const attempt = { login: `stranger${index}`, address, isKnown: false };
    await queue
      .run(attempt, () => new Promise<never>(() => {}), over.signal)
      .catch(() => refused.push(index));
  });
  await new Promise(setImmediate);
  assert.equal(refused.length, 0);
  const bob = { login: 'bob', address: '198.51.100.1', isKnown: false };
  void queue.run(bob, () => new Promise<never>(() => {}), over.signal).catch(() => refused.push(-1));
  const alice = { login: 'alice', address: '198.51.100.2', isKnown: true };
  assert.equal(await queue.run(alice, async () => 'checked', over.signal), 'checked');
  assert.deepEqual(refused, [6]);
  over.abort();
  void strangers;
});

test('threat 133: after the server spent much time on checking logins, the next login waits, unless it is of a person who logged in lately', async () => {
  const queue = new LoginQueue();
  const { signal } = new AbortController();
  let ended = 0;
  const work = async () => {
    const before = process.threadCpuUsage();
    while (process.threadCpuUsage(before).user < 100_000);
    ended = performance.now();
  };
  const login = (index: number, isKnown = false) => ({
    login: `user${index}`,
    address: `192.0.2.${index}`,
    isKnown,
  });
  await Promise.all(Array.from({ length: 6 }, (_, index) => queue.run(login(index), work, signal)));
  const waited = async () => performance.now() - ended;
  const known = queue.run(login(7, true), waited, signal);
  const stranger = queue.run(login(8), waited, signal);
  assert.ok((await known) < 150, `the known person waited ${await known} ms`);
  assert.ok((await stranger) > 200, `the stranger waited ${await stranger} ms`);
});

test('threat 202: logins of people who logged in lately cannot fill the whole queue of logins, so the login of somebody else is still checked', async () => {
  const queue = new LoginQueue();
  const over = new AbortController();
  const refused: number[] = [];
  const never = () => new Promise<never>(() => {});
  for (let index = 0; index < 1500; index += 1) {
    const attempt = { login: 'eve', address: `10.${index >> 8}.${index & 255}.1`, isKnown: true };
    void queue.run(attempt, never, over.signal).catch(() => refused.push(index));
  }
  await new Promise(setImmediate);
  assert.equal(refused.length, 1500 - 1006);
  const carol = { login: 'carol', address: '198.51.100.1', isKnown: false };
  assert.equal(await queue.run(carol, async () => 'checked', over.signal), 'checked');
  over.abort();
});

test('threat 202: of logins with too many earlier failures, two are checked at once; the rest wait until all other waiting logins have begun', async () => {
  const queue = new LoginQueue();
  const over = new AbortController();
  const begun: string[] = [];
  const mayEnd = Promise.withResolvers<void>();
  const login = (name: string, index: number, isSlowed: boolean) => {
    const attempt = { login: `${name}${index}`, address: `192.0.2.${index + 1}`, isKnown: false, isSlowed };
    const check = async () => {
      begun.push(name);
      await mayEnd.promise;
    };
    return queue.run(attempt, check, over.signal);
  };
  const all = [
    ...Array.from({ length: 5 }, (_, index) => login('slowed', index, true)),
    ...Array.from({ length: 6 }, (_, index) => login('other', 10 + index, false)),
  ];
  await new Promise(setImmediate);
  assert.deepEqual(begun, ['slowed', 'slowed', 'other', 'other', 'other', 'other']);
  mayEnd.resolve();
  await Promise.all(all);
  assert.deepEqual(begun.slice(6, 8), ['other', 'other']);
});
