import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { foldersOf } from '../../../src/builder/buildpack-api/build-mounts.ts';
import { launchEnvironment } from '../../../src/builder/buildpack-api/launch-environment.ts';
import { readLayers } from '../../../src/builder/buildpack-api/layers.ts';
import { environmentFromOutline, makeOutline } from '../../../src/builder/local/outline.ts';

const GROUP = ['x/a', 'x/b'];
const FILES = {
  'x_a/one.toml': '[types]\nlaunch = true\n[metadata]\nversion = "1"\n',
  'x_a/one/bin/program': 'program',
  'x_a/one/env/PLAIN': 'a',
  'x_a/one/env/LIST.append': 'a',
  'x_a/one/env/LIST.delim': ',',
  'x_a/one/env.build/ONLY_BUILDS': 'a',
  'x_a/one/env.launch/LIST.append': 'b',
  'x_a/one/env.launch/web/ONLY_WEB': 'w',
  'x_a/one/env.launch/worker/ONLY_WORKERS': 'w',
  'x_b/two.toml': '[types]\nlaunch = true\n',
  'x_b/two/lib/library.so': 'library',
  'x_b/two/env/PLAIN.default': 'b',
  'x_b/two/env/LIST.append': 'c',
  'x_b/two/env/LIST.delim': ';',
};

/** An artifact's folder with these files in its layers. */
class Made implements AsyncDisposable {
  readonly folders: ReturnType<typeof foldersOf>;

  private constructor(folder: string) {
    this.folders = foldersOf(folder);
  }

  static async with(files: Readonly<Record<string, string>>): Promise<Made> {
    const made = new Made(await mkdtemp(join(tmpdir(), 'outline-')));
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(made.folders.layers, path)), { recursive: true });
      await writeFile(join(made.folders.layers, path), text);
    }
    return made;
  }

  options(processType = 'web') {
    const layersFolder = this.folders.layers;
    return { layersFolder, layersPath: '/layers', buildpacks: GROUP, processType, base: { PATH: '/bin' } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folders.artifact, { recursive: true });
  }
}

test('threat 213: the environment of a process can be read from the outline of its artifact, a copy of the small files of layers, without the folders of layers, whose locks a process can hold', async () => {
  await using made = await Made.with(FILES);
  const expected = await launchEnvironment(made.options());
  assert.deepEqual(expected, {
    PATH: '/layers/x_a/one/bin:/bin',
    LD_LIBRARY_PATH: '/layers/x_b/two/lib',
    PLAIN: 'a',
    LIST: 'ab;c',
    ONLY_WEB: 'w',
  });
  await makeOutline(made.folders, GROUP);
  await rm(made.folders.layers, { recursive: true });
  assert.deepEqual(await environmentFromOutline(made.options()), expected);
  const { ONLY_WEB: _, ...others } = expected;
  assert.deepEqual(await environmentFromOutline(made.options('worker')), { ...others, ONLY_WORKERS: 'w' });
});

test('threat 213: if an artifact has no copy of its layers’ small files, eight processes that start at the same time get one copy, which later starts read', async () => {
  await using made = await Made.with(FILES);
  const [one, ...others] = await Promise.all(
    Array.from({ length: 8 }, () => environmentFromOutline(made.options())),
  );
  for (const other of others) assert.deepEqual(other, one);
  assert.equal(one?.['PLAIN'], 'a');
  await rm(made.folders.layers, { recursive: true });
  assert.deepEqual(await environmentFromOutline(made.options()), one);
  assert.deepEqual(await readdir(made.folders.artifact), ['outline']);
});

test('threat 213: the next build reads the same layers from the outline of an artifact, a copy of the small files of layers, as from the folders of layers', async () => {
  await using made = await Made.with(FILES);
  await makeOutline(made.folders, GROUP);
  for (const id of GROUP)
    assert.deepEqual(await readLayers(made.folders.outline, id), await readLayers(made.folders.layers, id));
});

test('threat 213: the outline of an artifact has copies of only those files of layers that the server reads, and of none behind links', async () => {
  await using made = await Made.with({
    ...FILES,
    'x_a/one/env/folder/file': 'deep',
    'x_a/one/env/NAME.unknown': 'unknown',
    'x_a/one/env.launch/web/folder/file': 'deep',
  });
  await symlink('/etc/hostname', join(made.folders.layers, 'x_a/one/env/LINK'));
  await symlink(join(made.folders.layers, 'x_a/one/env'), join(made.folders.layers, 'x_b/two/env.launch'));
  await makeOutline(made.folders, GROUP);
  const folders = ['x_a/one/bin', 'x_b/two/lib'];
  const files = Object.keys(FILES).filter((path) => !/program|library|env\.build/.test(path));
  const all = await readdir(made.folders.outline, { recursive: true, withFileTypes: true });
  const below = (path: string) => path.slice(made.folders.outline.length + 1);
  assert.deepEqual(
    all
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => below(join(parentPath, name)))
      .sort(),
    files.sort(),
  );
  for (const folder of folders) assert.ok(existsSync(join(made.folders.outline, folder)));
});

test('threat 213: env folders that are too large together to start a program fail the build', async () => {
  const large = Array.from({ length: 7 }, (_, index) => [
    `x_a/one/env.launch/t${index}/V`,
    'v'.repeat(2 ** 20),
  ]);
  await using made = await Made.with(Object.fromEntries(large));
  await assert.rejects(makeOutline(made.folders, GROUP), { code: 'NOT_PASSABLE' });
  assert.ok(!existsSync(made.folders.outline));
});
