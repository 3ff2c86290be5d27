import assert from 'node:assert/strict';
import { appendFile, cp, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { ABuilder, fixtures, productBuildpacks, registryEnvironment } from '../../support/a-builder.ts';
import { ASource } from '../run-buildpack.ts';

const pyproject = `[project]
name = "greeter"
version = "0.1.0"
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
`;
const lock = '[[package]]\nname = "greeter"\nsource = { editable = "." }\n';
const files = { 'pyproject.toml': pyproject, 'uv.lock': lock, 'greeter.py': 'x = 1\n' };

/** A text that stays the same if uv has nothing to install again; null if uv must look at the source in each build. */
async function keyOf(source: ASource): Promise<string | null> {
  const script = 'source lib/project_key.sh; cd "$0"; project_key';
  const options = { cwd: join(productBuildpacks, 'uv'), reject: false } as const;
  const { exitCode, stdout } = await execa(
    'bash',
    ['-euo', 'pipefail', '-c', script, source.folder],
    options,
  );
  return exitCode === 0 ? stdout : null;
}

for (const { name, change, isSame } of [
  {
    name: 'the content of a module',
    change: (folder: string) => appendFile(join(folder, 'greeter.py'), 'y = 2\n'),
    isSame: true,
  },
  {
    name: 'a new module',
    change: (folder: string) => writeFile(join(folder, 'more.py'), ''),
    isSame: false,
  },
  {
    name: 'pyproject.toml',
    change: (folder: string) => appendFile(join(folder, 'pyproject.toml'), '# more\n'),
    isSame: false,
  },
  { name: 'uv.lock', change: (folder: string) => appendFile(join(folder, 'uv.lock'), '\n'), isSame: false },
  {
    name: 'uv.toml',
    change: (folder: string) => writeFile(join(folder, 'uv.toml'), 'index-strategy = "first-index"\n'),
    isSame: false,
  },
]) {
  test(`after a change of ${name}, the uv buildpack ${isSame ? 'installs nothing' : 'runs uv again'}`, async () => {
    await using source = await ASource.of(files);
    const before = await keyOf(source);
    assert.match(before ?? '', /^[0-9a-f]{64}$/);
    await change(source.folder);
    assert.equal((await keyOf(source)) === before, isSame);
  });
}

for (const { name, changed } of [
  { name: 'it has a setup.py, which may compile modules', changed: { 'setup.py': '' } },
  {
    name: 'its version comes from its source',
    changed: { 'pyproject.toml': pyproject.replace('version = "0.1.0"', 'dynamic = ["version"]') },
  },
  {
    name: 'its package has copies of files',
    changed: {
      'pyproject.toml': `${pyproject}[tool.hatch.build.targets.wheel.force-include]\n"data.json" = "greeter.json"\n`,
    },
  },
  { name: 'hatch.toml says how to build it', changed: { 'hatch.toml': '' } },
  {
    name: 'its version comes from its source, with a dotted key',
    changed: { 'pyproject.toml': `project.dynamic = ["version"]\n${pyproject}` },
  },
  {
    name: 'its build backend is not known',
    changed: { 'pyproject.toml': pyproject.replace('hatchling.build', 'maturin') },
  },
  {
    name: 'another folder of the repository is a package too',
    changed: { 'uv.lock': `${lock}[[package]]\nname = "lib"\nsource = { editable = "lib" }\n` },
  },
]) {
  test(`the uv buildpack runs uv in each build of a tool if ${name}`, async () => {
    await using source = await ASource.of({ ...files, ...changed });
    assert.equal(await keyOf(source), null);
  });
}

test('the artifact of a tool that is a Python package has the new source, even if uv installed nothing in the build', async () => {
  await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  const build = async (text: string) => {
    const { reference } = await builder.build('uv-flask', {
      checkOut: async (folder) => {
        await cp(join(fixtures, 'uv-flask'), folder, { recursive: true });
        await appendFile(join(folder, 'src/greeter/__init__.py'), text);
      },
    });
    return readFile(join(reference, 'workspace/src/greeter/__init__.py'), 'utf8');
  };
  await build('');
  assert.match(builder.said, /\+ greeter==0\.1\.0/);
  assert.match(await build('\n# new\n'), /# new$/m);
  assert.match(builder.said, /Nothing to install/);
  assert.doesNotMatch(builder.said, /greeter==/);
  await build('\nimport pkg_resources\n');
  assert.match(builder.said, /Nothing to install[\s\S]*setuptools<81 is installed/);
});

/** A program that answers as the pinned release of uv does, and writes its arguments into the file `asked` beside it. */
async function aUv(folder: string): Promise<string> {
  const pinned = /^uv==(\S+)/m.exec(
    await readFile(join(productBuildpacks, 'python/lib/uv.txt'), 'utf8'),
  )?.[1];
  const script = `#!/bin/sh\n[ "$1" = --version ] || echo "$@" >>"$0.asked"\necho "uv ${pinned} (x86_64)"\n`;
  await writeFile(join(folder, 'uv'), script, { mode: 0o755 });
  return join(folder, 'uv');
}

test('if the image for builds has uv, a build downloads and stores no uv', async () => {
  await using source = await ASource.of({ '.python-version': '3\n' });
  const uv = await aUv(source.layers);
  const env = { TOOLFORGE_UV: uv, HTTPS_PROXY: 'http://127.0.0.1:9', PIP_INDEX_URL: 'http://127.0.0.1:9' };
  const built = await source.run('python', 'build', env, 'installer = "uv"\n');
  assert.equal(built.code, 0, built.output);
  assert.doesNotMatch(built.output, /Installing uv/);
  assert.equal(await readlink(join(source.layers, 'uv/bin/uv')), uv);
  assert.match(await readFile(join(source.layers, 'uv.toml'), 'utf8'), /build = true\ncache = false\n/);
});

for (const { where, lifecycle, prune } of [
  { where: 'on one machine', lifecycle: '/nowhere', prune: 'cache prune -q' },
  {
    where: 'under the lifecycle, which would store them again in each build',
    lifecycle: '/',
    prune: 'cache prune -q --ci',
  },
]) {
  test(`the packages that uv downloads are ${lifecycle === '/' ? 'not ' : ''}kept for the next build ${where}`, async () => {
    await using source = await ASource.of({});
    const uv = await aUv(source.layers);
    const script = 'source lib/packages.sh; add_setuptools() { :; }; save_venv key';
    await execa('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: join(productBuildpacks, 'pip'),
      env: {
        PATH: `${source.layers}:${process.env['PATH'] ?? ''}`,
        CNB_LAYERS_DIR: source.layers,
        CNB_BUILDPACK_DIR: join(productBuildpacks, 'pip'),
        TOOLFORGE_LIFECYCLE: lifecycle,
      },
    });
    assert.equal((await readFile(`${uv}.asked`, 'utf8')).trim(), prune);
  });
}
