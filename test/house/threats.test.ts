import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const page = await readFile(resolve(root, 'docs/threats.md'), 'utf8');
const rows = Array.from(page.matchAll(/^\| (\d+) +\|.*\| ([^|]+?) +\|$/gm), ([, number, tests = '']) => ({
  number: Number(number),
  tests,
}));

/** Whether `source` names the threat, as in `threat 7: …`, `threats 7, 8: …`, or a string that begins with `7: `. */
function names(source: string, number: number): boolean {
  const listed = source.matchAll(/threats? (\d+(?:(?:, | and |–)(?:threat )?\d+)*)/g);
  return (
    new RegExp(`['"\`]${number}: `).test(source) ||
    [...listed].some(([, numbers = '']) => numbers.match(/\d+/g)?.includes(String(number)))
  );
}

test('docs/threats.md has no number twice, and its numbers ascend', () => {
  const numbers = rows.map(({ number }) => number);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
  );
  assert.ok(numbers.length > 100);
});

test('each test file that docs/threats.md names for a threat contains the number of this threat', async () => {
  for (const { number, tests } of rows) {
    if (tests.startsWith('none: ')) continue;
    const files = Array.from(tests.matchAll(/`([^`]+)`/g), ([, file = '']) => file);
    assert.ok(files.length > 0, `threat ${number} has no test, and no reason why`);
    for (const file of files) {
      const source = await readFile(resolve(root, 'test', file), 'utf8');
      assert.ok(names(source, number), `test/${file} does not name threat ${number}`);
    }
  }
});
