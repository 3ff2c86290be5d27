import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPushOptions } from '../../../src/git/push/push-options.ts';

for (const option of ['toString', 'constructor', '__proto__', 'Detach', 'detach ', 'no-cache=1', '']) {
  test(`an unknown push option is refused: ${JSON.stringify(option)}`, () => {
    assert.match(
      String(readPushOptions(['detach', option])),
      /^unknown push option ".*"; known are: detach, dry-run, no-cache, no-color, message=TEXT$/,
    );
  });
}

test('if a push has the option message several times, the last message counts, on one line and without control characters', () => {
  const read = readPushOptions(['message=one', 'message=t\u001b[2Jw\u0007o\nlines']);
  assert.deepEqual(read, {
    isDetached: false,
    isDryRun: false,
    useCache: true,
    isColoured: true,
    message: 'two lines',
  });
});
