import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CUT, LogLines } from '../../../src/run/logs/log-lines.ts';

test('a log line loses carriage returns at its end, and is split at any other carriage return', () => {
  assert.deepEqual(new LogLines().push(Buffer.from('one\r\r\n50%\r100%\r\n\r\n')), [
    'one',
    '50%',
    '100%',
    '',
  ]);
});

test('threat 55: log lines full of carriage returns do not slow down the server', () => {
  const lines = new LogLines();
  const line = Buffer.from(`${'\r'.repeat(16_000)}x\n`);
  const began = performance.now();
  for (let count = 0; count < 20; count += 1) assert.equal(lines.push(line).at(-1), 'x');
  assert.ok(performance.now() - began < 500);
});

test('a log line that is too long is cut after 16,384 characters', () => {
  const lines = new LogLines();
  for (let count = 0; count < 100; count += 1) assert.deepEqual(lines.push(Buffer.alloc(65_536, 'x')), []);
  const [shown = ''] = lines.push(Buffer.from('\n'));
  assert.equal(shown, 'x'.repeat(16_384) + CUT);
});

test('a coloured log line that is too long also ends with the mark of a cut line', () => {
  const [shown = ''] = new LogLines().push(Buffer.from(`\u001b[31m${'x'.repeat(20_000)}\n`));
  assert.equal(shown, `\u001b[31m${'x'.repeat(16_379)}\u001b[0m${CUT}`);
});
