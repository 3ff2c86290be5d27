import assert from 'node:assert/strict';
import { test } from 'node:test';
import { masking } from '../../src/core/masking.ts';

test('threat 63: base64 and URL-encoded forms and single lines of a value are masked', () => {
  const mask = masking({ KEY: 'line one\nline/two!' });
  for (const form of [
    'line/two!',
    encodeURIComponent('line/two!'),
    Buffer.from('line one\nline/two!').toString('base64'),
  ]) {
    assert.equal(mask(`<${form}>`).includes('[config var KEY]'), true, form);
    assert.equal(mask(`<${form}>`).includes(form), false, form);
  }
});

test('threat 63: of two secrets the longer is masked where it holds the shorter', () => {
  const mask = masking({ A: 'secret', B: 'secret-and-more' });
  assert.equal(mask('secret-and-more secret'), '[config var B] [config var A]');
});

test('a value with characters of regular expressions is masked as it is', () => {
  assert.equal(masking({ KEY: 'a.b*c(d)' })('a.b*c(d) aXbbc(d)'), '[config var KEY] aXbbc(d)');
});

test('threat 63: a secret within longer base64, as in a header of HTTP, is masked', () => {
  const secret = 'hunter2/hunter?2';
  const mask = masking({ KEY: secret });
  for (const before of ['', 'u', 'us', 'user:', 'a much longer beginning:']) {
    for (const encoding of ['base64', 'base64url'] as const) {
      const encoded = Buffer.from(`${before}${secret} and more`).toString(encoding);
      const masked = mask(`Authorization: Basic ${encoded}`);
      assert.match(masked, /\[config var KEY\]/, encoded);
      const left = Buffer.from(masked.replace('[config var KEY]', '    ').slice(21), 'base64').toString(
        'latin1',
      );
      assert.doesNotMatch(left, /unter2|nter\?2/, encoded);
    }
  }
});

test('a value of thousands of lines is masked line by line', () => {
  const line = (index: number) => `line number ${index} of a long value`;
  const mask = masking({
    LONG: Array.from({ length: 4000 }, (_, index) => line(index)).join('\n'),
    B: 'other secret',
  });
  assert.equal(
    mask(`<${line(3999)}> <other secret> <line number 4>`),
    '<[config var LONG]> <[config var B]> <line number 4>',
  );
});

test('threat 55: lines made like the beginnings of long config vars cost little, and none of them comes through', () => {
  const vars = Object.fromEntries(
    Array.from({ length: 50 }, (_, index) => [`V${index}`, `${'a'.repeat(8000 + index)}b`]),
  );
  const mask = masking(vars);
  const line = 'a'.repeat(16_000);
  const startedAt = performance.now();
  for (let count = 0; count < 20; count++) assert.match(mask(line), /^\[line left out/);
  assert.ok(performance.now() - startedAt < 5000);
});

for (const { name, form } of [
  { name: 'JSON', form: 'p\\"ss w!rd/\\\\x' },
  { name: 'RFC 3986', form: 'p%22ss%20w%21rd%2F%5Cx' },
  { name: 'small hexadecimal digits', form: 'p%22ss%20w!rd%2f%5cx' },
  { name: 'a form', form: 'p%22ss+w%21rd%2F%5Cx' },
  { name: 'a path', form: 'p%22ss%20w%21rd/%5Cx' },
  { name: 'colours in it', form: '\u001b[01;31m\u001b[Kp"ss\u001b[m\u001b[K w!rd/\\x' },
  { name: 'characters that are taken out later', form: 'p"s\u0000s w\u0007!rd/\\x' },
]) {
  test(`threat 63: a value is masked as it stands in ${name}`, () => {
    const mask = masking({ TOKEN: 'p"ss w!rd/\\x' });
    assert.equal(mask(`a=${form};`), 'a=[config var TOKEN];');
  });
}

test('colours of a line without a secret stay', () => {
  const line = '\u001b[32mgreen\u001b[0m';
  assert.equal(masking({ TOKEN: 'password' })(line), line);
});

test('threat 63: a value of several lines is found after carriage returns, and half a character breaks nothing', () => {
  assert.equal(
    masking({ TOKEN: 'first1\rsecond\ud800' })('second\ufffd first1'),
    '[config var TOKEN] [config var TOKEN]',
  );
});
