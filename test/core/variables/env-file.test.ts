import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import { formatEnvFile, parseEnvFile } from '../../../src/core/variables/env-file.ts';

test('a .env file may have comments, the word `export`, quotes and values of several lines', () => {
  const text = `\uFEFF# settings\r
A=1 # one
 export B = two words \r
C='$A #\\n'
D="a\\n\\"b\\"\\\\ \\d
  second line" # after
E=\`it's "so"\`

F=
G=#nothing
H=a#b
export=x
I=--;\tz`;
  assert.deepEqual(parseEnvFile(text), {
    A: '1',
    B: 'two words',
    C: '$A #\\n',
    D: 'a\n"b"\\ \\d\n  second line',
    E: `it's "so"`,
    F: '',
    G: '',
    H: 'a#b',
    export: 'x',
    I: '--;\tz',
  });
});

for (const { text, says } of [
  { text: 'A=1\n\ns3cret', says: 'line 3 is not NAME=value' },
  { text: 'A: s3cret', says: 'line 1 is not NAME=value' },
  { text: 'export A', says: 'line 1 is not NAME=value' },
  { text: '=s3cret', says: 'line 1 is not NAME=value' },
  { text: 'A=1\nB="s3cret\nC=2', says: 'the value that begins in line 2 has no closing "' },
  { text: "A='it''s'", says: "line 1 has text after the closing '" },
  { text: 'A="1\n2" x', says: 'line 2 has text after the closing "' },
  { text: 'A="1\n2"\nA=3', says: 'A is in line 1 and in line 3' },
]) {
  test(`a .env file is refused if ${says}`, () => {
    assert.throws(() => parseEnvFile(text), { code: 'BAD_ENV_FILE', message: says });
  });
}

test('threat 60: a value of a megabyte of spaces in a .env file does not block the server', () => {
  const begun = performance.now();
  assert.deepEqual(parseEnvFile(`A=x${' '.repeat(2 ** 20)}y # not part of it`), {
    A: `x${' '.repeat(2 ** 20)}y`,
  });
  assert.ok(performance.now() - begun < 3000);
});

test('threat 60: a megabyte of empty lines, escapes, quotes or comments in a .env file does not block the server', () => {
  for (const text of [
    '\n'.repeat(2 ** 20),
    `A="${'\\n'.repeat(2 ** 19)}"`,
    `A="${'\\"'.repeat(2 ** 19)}"`,
    `A="${'x'.repeat(2 ** 20)}`,
    '#\n'.repeat(2 ** 19),
  ]) {
    const begun = process.cpuUsage();
    try {
      parseEnvFile(text);
    } catch (error) {
      assert.match(String(error), /no closing|comments|longer than/);
    }
    assert.ok(
      process.cpuUsage(begun).user < 150_000,
      `${text.slice(0, 10)}: ${process.cpuUsage(begun).user} µs`,
    );
  }
});

test('a value that is written to a .env file is read back exactly, and also by Node unless it has a single quote or a carriage return', () => {
  const letters = [...`'"\`\\$#=\n\r\t nré`];
  for (let number = 0; number < letters.length ** 4; number += 7) {
    const value = [0, 1, 2, 3]
      .map((place) => letters[Math.floor(number / letters.length ** place) % letters.length])
      .join('');
    const text = formatEnvFile({ A: value, B: value });
    assert.deepEqual(parseEnvFile(text), { A: value, B: value }, JSON.stringify(value));
    if (!/['\r]/.test(value)) assert.equal(parseEnv(text)['A'], value);
  }
});

test('threat 35: a .env file with more than 200 variables is refused at the first variable that is too many', () => {
  const lines = (count: number) => Array.from({ length: count }, (_, index) => `V${index}=x`).join('\n');
  assert.equal(Object.keys(parseEnvFile(lines(200))).length, 200);
  // A reader that continued after 200 variables would report the wrong line instead.
  assert.throws(() => parseEnvFile(`${lines(201)}\nwrong`), /more than 200 variables/);
});
