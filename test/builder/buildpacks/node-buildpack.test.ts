import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { productBuildpacks } from '../a-builder.ts';
import { ASource } from './run-buildpack.ts';

for (const [range, major] of Object.entries({
  '': '24',
  '24.x': '24',
  '>=18': '24',
  '^20.11': '20',
  '20 || 22': '22',
  'lts/*': '24',
  '>=18 <21': '20',
  '<23': '22',
  '18 - 20': '20',
  '~22.3': '22',
  v20: '20',
  '>= 14': '24',
  '23': '23',
  '16': '',
  '$(touch hacked)': '24',
})) {
  test(`the Node version for ${JSON.stringify(range)} is ${major === '' ? 'none of the supported versions' : major}`, async () => {
    const script = 'source "$0"; choose_major "$1" 18 19 20 21 22 23 24 25';
    const library = join(productBuildpacks, 'node/lib/versions.sh');
    const { stdout } = await execa('bash', ['-euo', 'pipefail', '-c', script, library, range]);
    assert.equal(stdout, major);
  });
}

for (const range of ['*', '22.* || *', '>= 2*']) {
  test(`the Node version for ${JSON.stringify(range)} does not depend on the names of other files`, async () => {
    await using source = await ASource.of({ '404.html': '', '2024': '', '17.txt': '', '>=99': '' });
    const script = 'source "$0"; choose_major "$1" 18 20 22 24';
    const library = join(productBuildpacks, 'node/lib/versions.sh');
    const { stdout } = await execa('bash', ['-euo', 'pipefail', '-c', script, library, range], {
      cwd: source.folder,
    });
    assert.equal(stdout, '24');
  });
}

// As many versions as the registry has, so that a pipe in choose_version that ends at an early version would fail.
const versions = Array.from({ length: 25 * 26 * 3 }, (_, n) =>
  [Math.floor(n / 78), Math.floor(n / 3) % 26, n % 3].join('.'),
);
for (const [range, version] of Object.entries({
  '18.0.0': '18.0.0',
  'v18.0.1': '18.0.1',
  '=18.2.0': '18.2.0',
  '18.2.9': '18.2.2',
  '18.2': '18.2.2',
  '18.2.x': '18.2.2',
  '~18.2.1': '18.2.2',
  '18.99.1': '18.25.2',
  '^18.2.0': '18.25.2',
  '18': '18.25.2',
  '>=18': '18.25.2',
  '': '18.25.2',
})) {
  test(`the version of Node 18 for ${JSON.stringify(range)} is always ${version}`, async () => {
    const script = 'source "$0"; for n in 1 2 3 4 5; do choose_version "$@"; done | sort -u';
    const library = join(productBuildpacks, 'node/lib/versions.sh');
    const words = ['-euo', 'pipefail', '-c', script, library, range, '18', ...versions];
    assert.equal((await execa('bash', words)).stdout, version);
  });
}

const jsonAwk = join(productBuildpacks, 'node/lib/json.awk');

test('package.json is parsed correctly, whatever characters its strings contain', async () => {
  const content = { a: 'x"}, {\\', 'k|"]': [1, -2500, true, null, {}, []], e: '\u00e9\n' };
  const { stdout } = await execa('awk', ['-f', jsonAwk], { input: JSON.stringify(content, null, 2) });
  assert.deepEqual(stdout.split('\n'), [
    'a\tx"}, {\\',
    'k|"]|0\t1',
    'k|"]|1\t-2500',
    'k|"]|2\ttrue',
    'k|"]|3\tnull',
    'e\té ',
  ]);
});

for (const text of [
  '',
  '{',
  '{"a" 1}',
  '{"a":1}x',
  '[1,]',
  '{"a":}',
  '{"a',
  '["\\"]',
  `${'['.repeat(200)}`,
]) {
  test(`threat 66: the text ${JSON.stringify(text.slice(0, 20))} is refused, because it is not JSON`, async () => {
    const { exitCode } = await execa('awk', ['-f', jsonAwk], { input: text, reject: false });
    assert.equal(exitCode, 1);
  });
}

test('the node and npm buildpacks have the same copies of their shared files', async () => {
  for (const file of ['json.awk', 'package.sh']) {
    const [one, two] = await Promise.all(
      ['node', 'npm'].map((name) => readFile(join(productBuildpacks, name, 'lib', file), 'utf8')),
    );
    assert.equal(one, two);
  }
});
