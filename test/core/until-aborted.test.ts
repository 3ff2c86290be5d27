import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { untilAborted } from '../../src/core/concurrency/until-aborted.ts';
import { timely } from '../../src/git/archive/timely.ts';

const gone = new Error('the client is gone');
const over = AbortSignal.abort(new Error('over'));

// An unhandled rejection fails these tests, as it would end the server.
test('if a wait was aborted before it began, a later failure of the awaited work does not end the server', async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  await assert.rejects(untilAborted(promise, over), /over/);
  reject(gone);
  await setImmediate();
});

test('if reading an archive was aborted before it began, a later failure of the client that sends the archive does not end the server', async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  const sent = { [Symbol.asyncIterator]: () => ({ next: () => promise }) };
  await assert.rejects(timely(sent, over).next(), /over/);
  reject(gone);
  await setImmediate();
});
