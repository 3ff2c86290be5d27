import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { untilAborted } from '../../src/core/concurrency/until-aborted.ts';
import { timely } from '../../src/git/archive/timely.ts';

const gone = new Error('the client is gone');
const over = AbortSignal.abort(new Error('over'));

// An unhandled rejection fails these tests, as it would end the server.
test('if the signal of a wait has fired already, a later failure of the work does not end the server', async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  await assert.rejects(untilAborted(promise, over), /over/);
  reject(gone);
  await setImmediate();
});

test('if the signal of a wait has fired already, a later failure of a client that sends an archive does not end the server', async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  const sent = { [Symbol.asyncIterator]: () => ({ next: () => promise }) };
  await assert.rejects(timely(sent, over).next(), /over/);
  reject(gone);
  await setImmediate();
});
