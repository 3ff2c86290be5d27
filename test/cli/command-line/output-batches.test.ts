import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inBatches } from '../../../src/cli/command-line/output-batches.ts';

test('if the source of output lines fails, all lines before the failure are printed', async () => {
  async function* source() {
    for (const line of ['one\n', 'two\n', 'three\n']) yield line;
    throw new Error('the source broke');
  }
  let shown = '';
  const reading = async () => {
    for await (const text of inBatches(source())) shown += text;
  };
  await assert.rejects(reading(), /the source broke/);
  assert.equal(shown, 'one\ntwo\nthree\n');
});
