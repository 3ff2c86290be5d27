import assert from 'node:assert/strict';
import { link, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse } from 'smol-toml';
import { readProcesses } from '../../../src/builder/buildpack-api/launch-processes.ts';
import { addEnvFolder, addLayerFolders } from '../../../src/builder/buildpack-api/layer-environment.ts';
import { readLayers, restoredLayerFile } from '../../../src/builder/buildpack-api/layers.ts';
import { giveBack, keepLayers } from '../../../src/builder/local/tool-cache.ts';
import { listPlainFolder } from '../../../src/builder/source/safe-files.ts';
import { tomlLines } from '../../../src/builder/source/toml-lines.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'env-files-'));
});
after(() => rm(root, { recursive: true, force: true }));

const MIB = 1024 * 1024;
const newFolder = async (name: string) => {
  const folder = await mkdtemp(join(root, 'layers-'));
  await mkdir(join(folder, name), { recursive: true });
  return folder;
};

/** Makes hard links with these names to one file, whose content takes space on disk only once. */
async function linked(folder: string, file: string, names: readonly string[]): Promise<void> {
  for (const name of names) await link(file, join(folder, name));
}

const numbered = (count: number, end: string) =>
  Array.from({ length: count }, (_, index) => `V${index}${end}`);

for (const action of ['', '.append']) {
  test(`threat 60: the server refuses env files "NAME${action}" of a layer that hold 20 MiB together, even if they take no space on disk`, async () => {
    const folder = await newFolder('one/l/env');
    const sparse = join(folder, 'sparse');
    await writeFile(sparse, '');
    await truncate(sparse, MIB);
    await linked(join(folder, 'one/l/env'), sparse, numbered(20, action));
    const environment = {};
    await assert.rejects(addEnvFolder(environment, folder, ['one', 'l', 'env']), { code: 'NOT_PASSABLE' });
  });
}

test('threat 60: the server refuses twenty values of 1 MiB that layers set for one variable, although each value replaces the one before', async () => {
  const folder = await newFolder('one');
  const file = join(folder, 'big');
  await writeFile(file, 'x'.repeat(MIB));
  const environment = {};
  const addAll = async () => {
    for (const name of numbered(20, '')) {
      await mkdir(join(folder, 'one', name, 'env'), { recursive: true });
      await link(file, join(folder, 'one', name, 'env', 'SAME'));
      await addEnvFolder(environment, folder, ['one', name, 'env']);
    }
  };
  await assert.rejects(addAll(), { code: 'NOT_PASSABLE' });
});

test('threat 208: when the server rewrites the metadata of a layer, the file does not become larger, even if a long key has an array of thousands of tables', async () => {
  const folder = await newFolder('one');
  const text = `[types]\ncache = true\n[metadata]\n${'k'.repeat(32_000)} = [${Array.from({ length: 10_400 }, () => '{}').join()}]\n`;
  await writeFile(join(folder, 'one/big.toml'), text);
  const [layer] = await readLayers(folder, 'one');
  assert.ok(layer !== undefined);
  const written = restoredLayerFile(layer);
  assert.ok(written.length <= text.length, `${text.length} bytes became ${written.length}`);
  assert.ok(JSON.stringify(parse(written)) === JSON.stringify({ metadata: layer.metadata }));
});

test('the server reads a TOML file and writes it again without a change of any value', () => {
  const table = parse(String.raw`
number = -1
float = 1.5
infinite = -inf
text = "tab \t, quotes \" and ' , DEL \u007f, ü and \U0001F600"
lines = '''
one
two'''
yes = true
moment = 1979-05-27T07:32:00Z
local = 1979-05-27T07:32:00
day = 1979-05-27
hour = 07:32:00
"key with \" and \u007f" = 1
"" = 2
list = [[1, 2], ["a"], [], {b = 1, c = {}}]
[table.inner]
"d.e" = 1
[[table.many]]
f = 1
[[table.many]]
["__proto__"]
g = 1
`);
  assert.deepEqual(parse(tomlLines(table)), table);
});

test('threat 60: a buildpack with more than 100 layers fails the build', async () => {
  const folder = await newFolder('test_x');
  for (const name of numbered(101, '.toml'))
    await writeFile(join(folder, 'test_x', name), '[types]\nlaunch = true\n');
  await assert.rejects(readLayers(folder, 'test/x'), { code: 'BUILD_FAILED' });
});

test('threat 174: a build with 120 cached layers fails, and the cache then keeps only 100 of them, because the server starts programs for each layer', async () => {
  const folder = await newFolder('test_x');
  const ids = ['test/x', 'test/y'];
  for (const id of ['test_x', 'test_y'])
    for (const name of numbered(60, '')) {
      await mkdir(join(folder, id, name), { recursive: true });
      await writeFile(join(folder, id, `${name}.toml`), '[types]\ncache = true\n');
    }
  const places = { layers: folder, cache: join(folder, 'cache'), previous: null };
  const message = /test\/x .*all buildpacks together have more than 100 layers/;
  await assert.rejects(keepLayers(places, ids), { code: 'BUILD_FAILED', message });
  await giveBack(places, [], new Map(ids.map((id) => [id, 'built' as const])));
  const kept = await Promise.all(ids.map((id) => readLayers(places.cache, id)));
  assert.equal(kept.flat().length, 100);
});

test('threat 60: the server refuses the env files of many layers if they hold 20 MiB together', async () => {
  const folder = await newFolder('one');
  const file = join(folder, 'big');
  await writeFile(file, 'x'.repeat(MIB));
  const environment = {};
  const addAll = async () => {
    for (const name of numbered(20, '')) {
      await mkdir(join(folder, 'one', name, 'env'), { recursive: true });
      await link(file, join(folder, 'one', name, 'env', name));
      await addEnvFolder(environment, folder, ['one', name, 'env']);
    }
  };
  await assert.rejects(addAll(), { code: 'NOT_PASSABLE' });
});

test('threat 60: files LAYER.toml of 2.4 MB together fail the build, even if all are hard links to one file of 60 kB', async () => {
  const folder = await newFolder('test_x');
  const file = join(folder, 'big');
  await writeFile(file, `[metadata]\na = "${'x'.repeat(60_000)}"\n`);
  await linked(join(folder, 'test_x'), file, numbered(40, '.toml'));
  await assert.rejects(readLayers(folder, 'test/x'), { code: 'BUILD_FAILED' });
});

test('threat 60: a file LAYER.toml with 20,000 keys fails the build, because the server would parse it for too long', async () => {
  const folder = await newFolder('test_x');
  const keys = numbered(20_000, ' = 1').join('\n');
  await writeFile(join(folder, 'test_x', 'l.toml'), `[metadata]\n${keys}\n`);
  await assert.rejects(readLayers(folder, 'test/x'), { code: 'BUILD_FAILED', message: /l\.toml/ });
});

test('threat 60: TOML of a buildpack with a key of 20,000 parts fails the build with the name of the file', async () => {
  const folder = await newFolder('test_x');
  const nested = `${'a.'.repeat(20_000)}a = 1\n`;
  await writeFile(join(folder, 'test_x', 'l.toml'), `[metadata]\n${nested}`);
  await assert.rejects(readLayers(folder, 'test/x'), {
    code: 'BUILD_FAILED',
    message: /its l\.toml has tables inside each other, more than 20 deep$/,
  });
  await writeFile(join(folder, 'test_x', 'launch.toml'), nested);
  await assert.rejects(readProcesses(folder, 'test/x'), {
    code: 'BUILD_FAILED',
    message: /its launch\.toml has tables inside each other, more than 20 deep$/,
  });
});

test('threat 60: a launch.toml with thousands of processes fails the build, with a short message', async () => {
  const folder = await newFolder('test_x');
  const launch = join(folder, 'test_x', 'launch.toml');
  await writeFile(launch, '[[processes]]\n'.repeat(10_000));
  await assert.rejects(readProcesses(folder, 'test/x'), { code: 'BUILD_FAILED', message: /is larger than/ });
  await writeFile(launch, '[[processes]]\n'.repeat(4000));
  await assert.rejects(readProcesses(folder, 'test/x'), ({ message }: Error) => {
    assert.match(message, /launch\.toml cannot be used: .*processes\[0\]/);
    assert.ok(message.length < 300, message.slice(0, 1000));
    return true;
  });
});

test('threat 60: the server refuses thousands of env files of layers, even if the files are empty', async () => {
  const folder = await newFolder('one');
  const environment = {};
  const addAll = async () => {
    for (const layer of numbered(5, '')) {
      await mkdir(join(folder, 'one', layer, 'env'), { recursive: true });
      for (const name of numbered(2000, '')) await writeFile(join(folder, 'one', layer, 'env', name), '');
      await addEnvFolder(environment, folder, ['one', layer, 'env']);
    }
  };
  await assert.rejects(addAll(), { code: 'NOT_PASSABLE' });
});

test('threat 60: the server refuses a folder of layers, or of env files, with thousands of entries', async () => {
  const folder = await newFolder('many');
  for (const name of numbered(6000, '')) await writeFile(join(folder, 'many', name), '');
  await assert.rejects(listPlainFolder(folder, ['many']), RangeError);
  await assert.rejects(readLayers(folder, 'many'), { code: 'BUILD_FAILED' });
  await assert.rejects(addEnvFolder({}, folder, ['many']), { code: 'NOT_PASSABLE' });
  const places = { layers: join(folder, 'many'), cache: join(folder, 'cache'), previous: null };
  await assert.rejects(keepLayers(places, ['test/x']), { code: 'BUILD_FAILED' });
});

test('the folder bin of a layer is found even if the layer has thousands of other entries', async () => {
  const folder = await newFolder('one/l/bin');
  for (const name of numbered(6000, '')) await writeFile(join(folder, 'one/l', name), '');
  const environment: Record<string, string> = {};
  await addLayerFolders(environment, { folder, path: '/layers' }, ['one', 'l'], 'launch');
  assert.deepEqual(environment, { PATH: '/layers/one/l/bin' });
});
