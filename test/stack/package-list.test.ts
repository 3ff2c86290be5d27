import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { DeployError } from '../../src/core/errors.ts';
import { readPackageList } from '../../src/stack/package-list.ts';

const source = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'packages-'));
after(() => rmSync(folder, { recursive: true }));

function listOf(text: string): string {
  const path = join(folder, 'packages');
  writeFileSync(path, text);
  return path;
}

test('a stack’s tree for builds also has the packages of its tree for tools', async () => {
  const list = await readPackageList(
    listOf('# a comment\nsuite trixie # Debian 13\n\nrun file jq\nbuild gcc\nrun less\n'),
  );
  assert.equal(list.suite, 'trixie');
  assert.deepEqual(list.packages, { run: ['file', 'jq', 'less'], build: ['file', 'jq', 'less', 'gcc'] });
});

test('deploy/builder/packages has Python, PHP, Ruby and Perl for tools, but compilers, Maven and Composer only for builds', async () => {
  const { packages } = await readPackageList(join(source, 'deploy/builder/packages'));
  // Programs that embed Python, such as a uWSGI that a tool compiles, need the library of Python.
  for (const name of ['python3', 'libpython3.13', 'php-cli', 'ruby', 'perl'])
    assert.ok(packages.run.includes(name), name);
  for (const name of ['build-essential', 'golang-go', 'cargo', 'maven', 'composer'])
    assert.ok(packages.build.includes(name) && !packages.run.includes(name), name);
});

for (const { name, text, says } of [
  { name: 'no Debian release', text: 'run file\n', says: /does not name one Debian release/ },
  { name: 'two Debian releases', text: 'suite trixie\nsuite bookworm\n', says: /does not name one Debian/ },
  {
    name: 'a line with an unknown first word',
    text: 'suite trixie\nrnu file\n',
    says: /^line 2 of .* begins with the word rnu, not with run or build or suite or release$/,
  },
  {
    name: 'a line that begins with the name of a property of all JavaScript objects',
    text: 'suite trixie\nconstructor file\n',
    says: /^line 2 of .* begins with the word constructor,/,
  },
  {
    name: 'an option of apt in place of a package',
    text: 'suite trixie\nrun --purge\n',
    says: /^line 2 of .* has the word --purge,/,
  },
]) {
  test(`a list of packages is refused with the reason if it has ${name}`, async () => {
    await assert.rejects(readPackageList(listOf(text)), (error) => {
      assert.ok(error instanceof DeployError);
      assert.equal(error.code, 'BAD_PACKAGE_LIST');
      assert.match(error.message, says);
      return true;
    });
  });
}

test('the builder image and the run image are built with the packages of deploy/builder/packages', async () => {
  const script = await readFile(join(source, 'deploy/builder/build-images'), 'utf8');
  assert.match(script, /"\$here\/packages"/);
  for (const name of ['run', 'build']) {
    const file = await readFile(join(source, `deploy/builder/${name}.Dockerfile`), 'utf8');
    assert.match(file, /apt-get install -y --no-install-recommends( -o \S+)* \$packages/);
  }
});
