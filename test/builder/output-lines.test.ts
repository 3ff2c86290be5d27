import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_LINE_BYTES, OutputLines } from '../../src/builder/output-lines.ts';
import { allSteps } from '../../src/core/fair-share/time-shares.ts';
import { masking } from '../../src/core/masking/masking.ts';

const nothing = await masking({}, 'wc');

function linesOf(chunks: readonly (string | Buffer)[], mask = nothing): string[] {
  const lines: string[] = [];
  const output = new OutputLines({ mask: mask.steps, line: (text) => lines.push(text) });
  for (const chunk of chunks) allSteps(output.write(Buffer.from(chunk as string)));
  allSteps(output.end());
  return lines;
}

test('output lines arrive complete, however the output is cut into chunks', () => {
  assert.deepEqual(linesOf(['on', 'e\ntw', 'o\r\n', '\nthree']), ['one', 'two', '', 'three']);
});

test('threat 57: a character of several bytes stays whole if it arrives in two chunks', async () => {
  const bytes = Buffer.from('é€😀\n');
  assert.deepEqual(linesOf([bytes.subarray(0, 1), bytes.subarray(1, 4), bytes.subarray(4)]), ['é€😀']);
});

test('bytes in the output that are not UTF-8 are replaced by U+FFFD', () => {
  assert.deepEqual(linesOf([Buffer.from([0x61, 0xff, 0x62, 0x0a])]), ['a\ufffdb']);
});

test('an output line of megabytes is cut, and the next line is complete', () => {
  const lines = linesOf([...Array.from({ length: 100 }, () => 'x'.repeat(65_536)), '\nnext\n']);
  assert.equal(lines.length, 2);
  assert.ok(Buffer.byteLength(lines[0] ?? '') < MAX_LINE_BYTES + 100);
  assert.match(lines[0] ?? '', /\(line cut\)$/);
  assert.equal(lines[1], 'next');
});

test('threat 63: in output, the name of a config var replaces its value, even if the value is split over chunks; a value of three characters is not replaced', async () => {
  const mask = await masking({ API_KEY: 'hunter2-hunter2', SHORT: 'abc' }, 'wc');
  assert.deepEqual(linesOf(['key hunter2-', 'hunter2 end abc\n'], mask), [
    'key [config var API_KEY] end abc',
  ]);
});

test('threat 63: no part of a secret is printed where a long line is cut', async () => {
  const secret = 'S'.repeat(4000);
  const [line = ''] = linesOf(
    [`${'x'.repeat(64 * 1024 - 2000)}${secret}\n`],
    await masking({ KEY: secret }, 'wc'),
  );
  assert.doesNotMatch(line, /S/);
});

test('threat 55: 400 long lines that begin with invalid UTF-8 are cut in less than 1.5 seconds', () => {
  const line = Buffer.concat([Buffer.alloc(5_000, 0xff), Buffer.from('x'.repeat(60_000))]);
  const began = performance.now();
  for (let count = 0; count < 400; count += 1) {
    const [shown = ''] = linesOf([line, '\n']);
    assert.match(shown, /^\ufffd+x+ … \(line cut\)$/);
  }
  assert.ok(performance.now() - began < 1500);
});

test('a line that is cut ends in a complete character', () => {
  for (const before of [0, 1, 2, 3]) {
    const [shown = ''] = linesOf([`${'a'.repeat(before)}${'🦊'.repeat(20_000)}\n`]);
    assert.match(shown, /^a*(?:🦊)+ … \(line cut\)$/u);
  }
});
