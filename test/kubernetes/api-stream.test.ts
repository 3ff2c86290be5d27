import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineCutter, linesOf } from '../../src/kubernetes/api-stream.ts';

async function* pieces(...texts: (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

const all = async (lines: AsyncIterable<string>) => await Array.fromAsync(lines);

test('a stream of the cluster’s API yields only whole lines, even if lines and letters are split over several chunks', async () => {
  const fox = Buffer.from('🦊\n');
  const lines = linesOf(pieces('a\nb', 'c\n\n', fox.subarray(0, 2), fox.subarray(2), 'cut off'));
  assert.deepEqual(await all(lines), ['a', 'bc', '', '🦊']);
});

test('threat 55: an endless line from the cluster’s API does not fill the memory, and the next line is complete', async () => {
  const cutter = new LineCutter(1000);
  const piece = Buffer.alloc(64 * 1024, 'x');
  const before = process.memoryUsage().rss;
  for (let count = 0; count < 20_000; count += 1) assert.deepEqual(cutter.push(piece), []);
  const lines = cutter.push(Buffer.from('\nnext\n'));
  assert.deepEqual(
    lines.map((line) => line.length),
    [1000, 4],
  );
  assert.ok(process.memoryUsage().rss - before < 300 * 1024 * 1024);
});
