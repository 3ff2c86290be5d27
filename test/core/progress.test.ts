import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clean, oneLine, paint, progressTo } from '../../src/core/progress.ts';

for (const { name, text, expected } of [
  { name: 'plain text stays in output', text: 'Installing é ✓\t1', expected: 'Installing é ✓\t1' },
  {
    name: 'threat 57: a carriage return becomes a new line',
    text: '10%\r20%\r\nend',
    expected: '10%\n20%\nend',
  },
  {
    name: 'threat 58: colours stay and are closed on each line',
    text: '\u001b[31mred\nnext',
    expected: '\u001b[31mred\u001b[0m\nnext',
  },
  { name: 'threat 58: a terminal title (OSC) is removed', text: 'a\u001b]0;pwned\u0007b', expected: 'ab' },
  {
    name: 'threat 58: of a link (OSC 8), only the text stays',
    text: '\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\',
    expected: 'link',
  },
  {
    name: 'threat 58: a cut-off OSC does not swallow the next line',
    text: 'a\u001b]0;x\nb',
    expected: 'a\nb',
  },
  { name: 'threat 58: a control string (DCS) is removed', text: 'a\u001bPq#0\u001b\\b', expected: 'ab' },
  { name: 'threat 58: cursor moves are removed', text: 'a\u001b[2J\u001b[1;1Hb', expected: 'ab' },
  { name: 'threat 58: C1 control characters are removed', text: 'a\u009b2Jb\u0085c', expected: 'abc' },
  { name: 'NUL and bell are removed', text: 'a\u0000\u0007b', expected: 'ab' },
]) {
  test(name, () => assert.equal(clean(text), expected));
}

test('each kind of progress output has its prefix on every line', () => {
  let out = '';
  const progress = progressTo((text) => {
    out += text;
  });
  progress.step('Building');
  progress.line('one\ntwo');
  progress.warn('bad\nworse');
  progress.result('v1 is live');
  assert.equal(out, '-----> Building\n       one\n       two\n !     bad\n !     worse\n=====> v1 is live\n');
});

test('a build cannot imitate the server’s own lines, because its output is always indented', () => {
  let out = '';
  progressTo((text) => {
    out += text;
  }).line('=====> v42 is live');
  assert.equal(out, '       =====> v42 is live\n');
});

test('a line with the prefix of a step is coloured, and without colours the output has no control sequences', () => {
  assert.match(paint('-----> x\n', true), /^\u001b\[36m-----> x\u001b\[39m\n$/);
  assert.equal(paint('\u001b[31mred\u001b[0m\n', false), 'red\n');
});

for (const { name, part, end = 'x' } of [
  { name: 'control strings without an end', part: '\u001b]' },
  { name: 'terminal links without an end', part: '\u001b]8;;' },
  { name: 'C1 control strings', part: '\u009d' },
  { name: 'C1 control strings that another sequence interrupts', part: '\u009d', end: '\u001bx' },
  { name: 'carriage returns', part: '\r' },
  { name: 'escape sequences without an end', part: '\u001b[1;' },
]) {
  test(`threat 55: removing many ${name} from 200 kB of output takes less than 500 ms`, () => {
    const text = part.repeat(Math.floor(200_000 / part.length)) + end;
    const began = performance.now();
    assert.ok(!clean(text).includes('\u001b'));
    assert.ok(performance.now() - began < 500);
  });
}

test('threat 58: a commit subject can neither colour a line nor change its direction', () => {
  assert.equal(oneLine('\u001b[31ma\u001b[0m \u202egnp.\u2066\tשלום  b\n'), 'a gnp. שלום b');
});
