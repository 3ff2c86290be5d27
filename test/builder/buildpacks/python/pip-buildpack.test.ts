import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { productBuildpacks } from '../../support/a-builder.ts';
import { ASource } from '../run-buildpack.ts';

/** Runs a shell function of the pip buildpack in the folder of a source. */
async function run(source: ASource, command: string) {
  const script = `source lib/python_files.sh; source lib/inputs.sh; cd "$0"; ${command}`;
  const buildpack = join(productBuildpacks, 'pip');
  return await execa('bash', ['-euo', 'pipefail', '-c', script, source.folder], {
    cwd: buildpack,
    env: { CNB_BUILDPACK_DIR: buildpack },
    reject: false,
  });
}

const utf16 = (text: string) => Buffer.from(`\uFEFF${text}`, 'utf16le');

for (const { name, files, found } of [
  {
    name: 'files with a usual name',
    files: {
      'requirements.txt': 'a\n',
      'requirements/prod.txt': 'b\n',
      'dev-requirements.txt': '',
      'notes.txt': '',
    },
    found: ['dev-requirements.txt', 'requirements.txt', 'requirements/prod.txt'],
  },
  {
    name: 'files that a requirements.txt includes, directly or through other files',
    files: {
      'requirements.txt': '  -r deps/base.txt # why\r\n--requirement=more.in\n-c pins.txt',
      'deps/base.txt': '-r common.txt\n',
      'deps/common.txt': '-r base.txt\n-r gone.txt\n# -r not.txt\n',
      'more.in': '',
      'pins.txt': '',
      'not.txt': '',
    },
    found: ['deps/base.txt', 'deps/common.txt', 'more.in', 'pins.txt', 'requirements.txt'],
  },
  {
    name: 'files in the folder of webservice',
    files: {
      'www/python/src/requirements.txt': '-r requirements/base.txt\n',
      'www/python/src/requirements/base.txt': 'a\n',
    },
    found: ['www/python/src/requirements.txt', 'www/python/src/requirements/base.txt'],
  },
  {
    name: 'a file in UTF-16, as Windows writes it',
    files: { 'requirements.txt': utf16('-r deps.txt\r\n'), 'deps.txt': '' },
    found: ['deps.txt', 'requirements.txt'],
  },
  {
    name: 'a file that includes itself',
    files: { 'requirements.txt': '-r ./requirements.txt\n' },
    found: ['requirements.txt'],
  },
]) {
  test(`the pip buildpack installs the packages again after a change of ${name}`, async () => {
    await using source = await ASource.of(files);
    const [requirements = ''] = Object.keys(files);
    const { stdout } = await run(source, `inputs ${requirements} | xargs -0 realpath --relative-to=.`);
    assert.deepEqual([...new Set(stdout.split('\n'))].sort(), found);
  });
}

test('if requirements.txt is a link, the pip buildpack installs the packages again after a change of the link’s target', async () => {
  await using source = await ASource.of({ 'deps.txt': 'a\n' });
  await symlink('deps.txt', join(source.folder, 'requirements.txt'));
  const { stdout } = await run(source, 'inputs requirements.txt | xargs -0 cat');
  assert.equal(stdout, 'a');
});

const uvSource = '[tool.uv.sources]\nlib = { path = "libs/lib" }\n';
for (const { isLocal, files } of [
  { isLocal: true, files: { 'requirements.txt': 'flask\n-e .\n' } },
  { isLocal: true, files: { 'requirements.txt': './lib\n' } },
  { isLocal: true, files: { 'requirements.txt': 'flask\nvendor/lib\n' } },
  { isLocal: true, files: { 'requirements.txt': 'wheels/lib-1.0-py3-none-any.whl' } },
  {
    isLocal: true,
    files: { 'requirements.txt': '-r deps.txt\n', 'deps.txt': 'lib @ file:///workspace/lib\n' },
  },
  { isLocal: true, files: { 'requirements.txt': utf16('flask\r\n-e .\r\n') } },
  { isLocal: true, files: { 'pyproject.toml': `[project]\nname = "a"\n${uvSource}` } },
  { isLocal: true, files: { 'pyproject.toml': '[tool.uv.sources.lib]\nworkspace = true\n' } },
  { isLocal: false, files: { 'requirements.txt': 'flask==3.0 ; python_version > "3" # a/b\n' } },
  { isLocal: false, files: { 'requirements.txt': '--index-url https://example.org/simple\nflask\n' } },
  {
    isLocal: false,
    files: { 'requirements.txt': 'a @ https://example.org/a.whl\ngit+https://example.org/b\n' },
  },
  { isLocal: false, files: { 'requirements.txt': '-r deps/base.txt\n', 'deps/base.txt': 'flask\n' } },
  { isLocal: false, files: { 'pyproject.toml': '[tool.x]\ninclude = [\n  "src/a",\n]\n' } },
]) {
  test(`the requirements ${JSON.stringify(Object.values(files).map(String))} ${isLocal ? 'name' : 'do not name'} a package in the tool’s own repository`, async () => {
    await using source = await ASource.of(files);
    const [requirements = ''] = Object.keys(files);
    const { exitCode, stderr } = await run(source, `has_local_path ${requirements}`);
    assert.equal(exitCode, isLocal ? 0 : 1, stderr);
  });
}
