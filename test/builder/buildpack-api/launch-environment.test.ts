import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { launchEnvironment } from '../../../src/builder/buildpack-api/launch-environment.ts';
import { withPlatformVariables } from '../../../src/builder/buildpack-api/layer-environment.ts';

async function layersOf(files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'layers-'));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return root;
}

async function environmentOf(
  files: Readonly<Record<string, string>>,
  base: Record<string, string> = {},
  buildpacks = ['x/a', 'x/b'],
): Promise<Record<string, string>> {
  const layersFolder = await layersOf(files);
  try {
    return await launchEnvironment({
      layersFolder,
      layersPath: '/layers',
      buildpacks,
      processType: 'web',
      base,
    });
  } finally {
    await rm(layersFolder, { recursive: true });
  }
}

test('the folders bin and lib of layers come first in PATH and LD_LIBRARY_PATH, those of the last buildpack before the others', async () => {
  const environment = await environmentOf(
    {
      'x_a/one/bin/x': '',
      'x_a/one/lib/y': '',
      'x_a/two/bin/x': '',
      'x_b/three/bin/x': '',
      'x_b/three/include/h': '',
    },
    { PATH: '/usr/bin' },
  );
  assert.deepEqual(environment, {
    PATH: '/layers/x_b/three/bin:/layers/x_a/two/bin:/layers/x_a/one/bin:/usr/bin',
    LD_LIBRARY_PATH: '/layers/x_a/one/lib',
  });
});

for (const { name, files, base, expected } of [
  {
    name: 'a file without a suffix sets the variable',
    files: { V: 'new' },
    base: { V: 'old' },
    expected: 'new',
  },
  {
    name: '.override sets the variable',
    files: { 'V.override': 'new' },
    base: { V: 'old' },
    expected: 'new',
  },
  {
    name: '.default keeps an old value',
    files: { 'V.default': 'new' },
    base: { V: 'old' },
    expected: 'old',
  },
  { name: '.default sets a missing variable', files: { 'V.default': 'new' }, base: {}, expected: 'new' },
  { name: '.prepend without .delim', files: { 'V.prepend': 'new' }, base: { V: 'old' }, expected: 'newold' },
  {
    name: '.prepend with .delim',
    files: { 'V.prepend': 'new', 'V.delim': ':' },
    base: { V: 'old' },
    expected: 'new:old',
  },
  {
    name: '.prepend to a missing variable',
    files: { 'V.prepend': 'new', 'V.delim': ':' },
    base: {},
    expected: 'new',
  },
  {
    name: '.append with .delim',
    files: { 'V.append': 'new', 'V.delim': ':' },
    base: { V: 'old' },
    expected: 'old:new',
  },
  {
    name: '.append to a missing variable',
    files: { 'V.append': 'new', 'V.delim': ':' },
    base: {},
    expected: 'new',
  },
  { name: 'an unknown suffix is ignored', files: { 'V.what': 'new' }, base: { V: 'old' }, expected: 'old' },
]) {
  test(`a layer’s env file changes a variable of a process as the file’s suffix says: ${name}`, async () => {
    const placed = Object.fromEntries(
      Object.entries(files).map(([file, text]) => [`x_a/l/env/${file}`, text]),
    );
    assert.equal((await environmentOf(placed, { ...base }))['V'], expected);
  });
}

test('variables of a process come from a layer’s folders env, env.launch and env.launch/TYPE for the type of the process, but not from env.build or the folders of other types', async () => {
  const environment = await environmentOf({
    'x_a/l/env/A': 'env',
    'x_a/l/env/B': 'env',
    'x_a/l/env.launch/B': 'launch',
    'x_a/l/env.launch/C': 'launch',
    'x_a/l/env.launch/web/C': 'web',
    'x_a/l/env.launch/worker/A': 'worker',
    'x_a/l/env.build/A': 'build',
  });
  assert.deepEqual(environment, { A: 'env', B: 'launch', C: 'web' });
});

test('layers of buildpacks that took no part in the build do not change the environment of a process', async () => {
  assert.deepEqual(await environmentOf({ 'x_c/l/env/A': '1' }, { B: '2' }, ['x/a']), { B: '2' });
});

test('threat 39: a link in a layer does not bring files of this machine into the environment', async () => {
  const root = await layersOf({ 'x_a/l/env/OWN': 'yes', 'x_a/m/keep': '' });
  const secret = await layersOf({ env: 'secret', 'folder/STOLEN': 'secret' });
  await symlink(join(secret, 'env'), join(root, 'x_a/l/env/STOLEN'));
  await symlink(join(secret, 'folder'), join(root, 'x_a/m/env'));
  await symlink(join(root, 'x_a'), join(root, 'x_b'));
  const environment = await launchEnvironment({
    layersFolder: root,
    layersPath: '/layers',
    buildpacks: ['x/a', 'x/b'],
    processType: 'web',
    base: {},
  });
  assert.deepEqual(environment, { OWN: 'yes' });
  await rm(root, { recursive: true });
  await rm(secret, { recursive: true });
});

test('config vars win over variables of a build, and a config var PATH is put before the build’s PATH', () => {
  assert.deepEqual(withPlatformVariables({ PATH: '/bin', A: '1', B: '2' }, { PATH: '/mine', A: '3' }), {
    PATH: '/mine:/bin',
    A: '3',
    B: '2',
  });
});

test('the server refuses a file of more than 1 MiB in a layer’s env folder, because a variable of a program cannot be so large', async () => {
  await assert.rejects(environmentOf({ 'x_a/one/env/V': 'v'.repeat(2 ** 20 + 1) }), { code: 'NOT_PASSABLE' });
});

for (const { what, files } of [
  { what: '300 empty env files in one layer', files: Array.from({ length: 300 }, (_, i) => `one/env/V${i}`) },
  {
    what: 'empty folders for env files in 100 layers',
    files: Array.from({ length: 100 }, (_, i) => `l${i}/env.launch/worker/V`),
  },
]) {
  test(`threat 170: the server refuses layers with too many env files or folders, because it would read them at each start of a process: ${what}`, async () => {
    const placed = Object.fromEntries(files.map((file) => [`x_a/${file}`, '']));
    await assert.rejects(environmentOf(placed), { code: 'NOT_PASSABLE' });
  });
}
