import assert from 'node:assert/strict';
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isTaken } from '../../../src/builder/folders.ts';
import { diskUse } from '../../../src/sandbox/disk/disk-use.ts';
import { ABuilder } from '../support/a-builder.ts';
import { tool } from '../support/build-request.ts';
import { SampleBuildpacks, webProcess } from '../support/sample-buildpacks.ts';
import { aSource } from '../support/with-builder.ts';

const source = aSource();
const isRoot = process.getuid?.() === 0;

/** A bin/build with the linked layer `l`. The script FIRST runs when the layer is made, AGAIN if it is there. */
const build = `
  cd "$CNB_LAYERS_DIR"
  if [ -d l ]; then sh -c "$AGAIN"; else mkdir l; echo first >l/content; echo first >l/other; sh -c "\${FIRST:-true}"; fi
  printf '[types]\\nlaunch = true\\ncache = true\\n\\n[metadata]\\nlinked = true\\n' >l.toml
  ${webProcess}`;

/** Builds twice, with these scripts. Calls `check` with the layer's folder in both artifacts, and the second output. */
async function buildTwice(
  scripts: { readonly first?: string; readonly again: string },
  check: (layers: {
    readonly first: string;
    readonly second: string;
    readonly said: string;
  }) => Promise<void>,
): Promise<void> {
  await using buildpacks = await SampleBuildpacks.write({ one: { build } });
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  const configVars = { FIRST: scripts.first ?? '', AGAIN: scripts.again };
  const [first, second] = [
    await builder.build(source.folder, { configVars }),
    await builder.build(source.folder, { configVars }),
  ];
  const layer = ({ reference }: { readonly reference: string }) => join(reference, 'layers/sample_one/l');
  await check({ first: layer(first), second: layer(second), said: builder.said });
}

const text = (layer: string, name: string) => readFile(join(layer, name), 'utf8');
const inode = async (layer: string, name: string) => (await lstat(join(layer, name))).ino;

test('if the server is root, the next build gets the files of a layer with `linked = true` as hard links, and can delete and replace them', async () => {
  const again = 'rm l/other; echo second >l/other; echo new >l/new';
  await buildTwice({ again }, async ({ first, second }) => {
    assert.equal((await inode(first, 'content')) === (await inode(second, 'content')), isRoot);
    assert.deepEqual([await text(first, 'other'), await text(second, 'other')], ['first\n', 'second\n']);
    assert.equal(await text(second, 'new'), 'new\n');
    await assert.rejects(text(first, 'new'), { code: 'ENOENT' });
  });
});

test('threat 64: a build cannot change a file of the live artifact through the hard links of a layer with `linked = true`', async () => {
  const changes = [
    'echo changed >l/content',
    'chmod 777 l/content && echo changed >l/content',
    'chown $(id -u) l/content && echo changed >l/content',
    'dd if=/dev/null of=l/content',
    'ln l/content mine && chmod u+w mine && echo changed >mine',
    'sed -i s/first/changed/ l/other',
    'touch -d @0 l/content',
  ];
  const again = changes.map((change) => `( ${change} ) 2>/dev/null`).join('; ');
  await buildTwice({ again: `${again}; true` }, async ({ first, second }) => {
    assert.deepEqual([await text(first, 'content'), await text(first, 'other')], ['first\n', 'first\n']);
    assert.equal(await text(second, 'other'), 'changed\n');
    assert.notEqual((await lstat(join(first, 'content'))).mtimeMs, 0);
    assert.equal((await lstat(join(first, 'content'))).mode & 0o222, 0);
  });
});

test('threat 102: a tool does not become the owner of files that its failed build has moved from a layer with `linked = true` to its cache', async () => {
  await using buildpacks = await SampleBuildpacks.write({ one: { build } });
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  const configVars = (again: string) => ({ configVars: { AGAIN: again } });
  const { reference } = await builder.build(source.folder, configVars('false'));
  const layer = join(reference, 'layers/sample_one/l');
  const move = "mkdir c; mv l/content c; printf '[types]\\ncache = true\\n' >c.toml; false";
  await assert.rejects(builder.build(source.folder, configVars(move)), { code: 'BUILD_FAILED' });
  await builder.build(
    source.folder,
    configVars('cat c/content; chmod u+w c/content; echo changed >c/content'),
  );
  assert.match(builder.said, /first/);
  assert.equal(await text(layer, 'content'), 'first\n');
  assert.equal((await lstat(join(layer, 'content'))).uid, process.getuid?.());
});

test('threat 65: if the paths of a layer with `linked = true` are too long for chown, the build succeeds, and the tool’s user still owns the files', async () => {
  const deep = `python3 -c "
import os
os.chdir('l')
for _ in range(20): os.mkdir('x' * 240); os.chdir('x' * 240)
open('deep', 'w').close()"`;
  await using buildpacks = await SampleBuildpacks.write({ one: { build } });
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  try {
    const { reference } = await builder.build(source.folder, { id: 'deep', configVars: { FIRST: deep } });
    assert.equal(await text(join(reference, 'layers/sample_one/l'), 'content'), 'first\n');
    assert.equal(await isTaken(join(reference, 'layers/sample_one/l')), !isRoot);
  } finally {
    await builder.builder.remove(tool('wikibot'), 'deep');
  }
});

test('a layer with a file that only the owner of the file may read is copied for the next build, and stays readable for the tool', async () => {
  const first = 'echo secret >l/secret; chmod 600 l/secret';
  const again = 'echo "read: $(cat l/secret)"; chmod u+w l/content; echo changed >l/content';
  await buildTwice({ first, again }, async ({ first, second, said }) => {
    assert.match(said, /read: secret/);
    assert.deepEqual([await text(first, 'content'), await text(second, 'content')], ['first\n', 'changed\n']);
    const { uid, mode } = await lstat(join(second, 'secret'));
    assert.equal(mode & 0o777, 0o400);
    assert.equal(uid === process.getuid?.(), !isRoot);
  });
});

/** A bin/build that makes five linked layers with one file of 4 MiB, which has nearly as many names as ext4 allows. */
const manyNames = `
  cd "$CNB_LAYERS_DIR"
  [ -d l0 ] || python3 -c '
import os
with open("file", "wb") as file: file.write(os.urandom(4 << 20))
for layer in range(5):
    os.mkdir("l%d" % layer)
    for name in range(12990): os.link("file", "l%d/%d" % (layer, name))
os.unlink("file")'
  for n in 0 1 2 3 4; do printf '[types]\\nlaunch = true\\ncache = true\\n\\n[metadata]\\nlinked = true\\n' >l$n.toml; done
  ${webProcess}`;

test('threat 176: if the file system refuses more hard links to a file of linked layers, the file is copied once for all layers', async () => {
  await using buildpacks = await SampleBuildpacks.write({ one: { build: manyNames } });
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  await builder.build(source.folder);
  const { reference } = await builder.build(source.folder);
  const { bytes, entries } = await diskUse(join(reference, 'layers'), new AbortController().signal);
  assert.ok(entries > 64_950, `${entries} files and folders`);
  assert.ok(bytes < 10 * 1024 * 1024, `${bytes} bytes`);
});
