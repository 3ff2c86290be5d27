import assert from 'node:assert/strict';
import { chmod, lstat, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { diskUse } from '../../../src/sandbox/disk/disk-use.ts';
import { ABuilder } from '../support/a-builder.ts';
import { tool } from '../support/build-request.ts';
import { SampleBuildpacks, webProcess } from '../support/sample-buildpacks.ts';
import { aSource } from '../support/with-builder.ts';

const source = aSource();

/**
 * The bin/build of a buildpack with one layer `l`. It prints what the build before has left of the layer. Then it
 * writes the content and the types that the config vars of this build name.
 */
const oneLayer = `
  if [ -e "$CNB_LAYERS_DIR/l.toml" ]; then echo "file: $(tr '\\n' ' ' <"$CNB_LAYERS_DIR/l.toml")"; else echo 'file: none'; fi
  if [ -d "$CNB_LAYERS_DIR/l" ]; then echo "content: $(cat "$CNB_LAYERS_DIR/l/content")"; else echo 'content: none'; fi
  if [ -n "\${CONTENT:-}" ]; then rm -rf "$CNB_LAYERS_DIR/l"; mkdir "$CNB_LAYERS_DIR/l"; printf %s "$CONTENT" >"$CNB_LAYERS_DIR/l/content"; fi
  if [ -n "\${TYPES:-}" ]; then
    { echo '[types]'; for type in $TYPES; do echo "$type = true"; done
      if [ -n "\${VERSION:-}" ]; then echo '[metadata]'; echo "version = \\"$VERSION\\""; fi } >"$CNB_LAYERS_DIR/l.toml"
  fi
  ${webProcess}
  if [ -n "\${FILL:-}" ]; then dd if=/dev/zero of="$CNB_LAYERS_DIR/l/big" bs=1M count=30 status=none; cp "$CNB_LAYERS_DIR/l/big" more; sleep 1000; fi
  exit "\${STATUS:-0}"`;

async function withBuilder(run: (builder: ABuilder) => Promise<void>): Promise<void> {
  await using buildpacks = await SampleBuildpacks.write({ one: { build: oneLayer } });
  await using builder = await ABuilder.open({
    buildpacks: buildpacks.folder,
    limits: { build_disk: 32 * 1024 * 1024 },
  });
  await run(builder);
}

const found = (builder: ABuilder) => ({
  file: /file: (.*)/.exec(builder.said)?.[1]?.trim(),
  content: /content: (.*)/.exec(builder.said)?.[1],
});
const contentOf = (reference: string) => readFile(join(reference, 'layers/sample_one/l/content'), 'utf8');
const firstVars = (types: string) => ({ CONTENT: 'first', TYPES: types, VERSION: '1' });
const METADATA = '[metadata] version = "1"';

for (const { types, file, content, isInArtifact } of [
  { types: 'launch cache', file: METADATA, content: 'first', isInArtifact: true },
  { types: 'launch build cache', file: METADATA, content: 'first', isInArtifact: true },
  { types: 'launch', file: METADATA, content: 'none', isInArtifact: true },
  { types: 'launch build', file: 'none', content: 'none', isInArtifact: true },
  { types: 'cache', file: METADATA, content: 'first', isInArtifact: false },
  { types: 'build cache', file: METADATA, content: 'first', isInArtifact: false },
  { types: 'build', file: 'none', content: 'none', isInArtifact: false },
]) {
  test(`the next build finds those parts of a layer with the types ${types} that the lifecycle would restore`, async () => {
    await withBuilder(async (builder) => {
      const artifact = await builder.build(source.folder, { configVars: firstVars(types) });
      const kept = await readdir(join(artifact.reference, 'layers/sample_one'));
      assert.deepEqual(kept, isInArtifact ? ['l', 'l.toml'] : []);
      await builder.build(source.folder);
      assert.deepEqual(found(builder), { file, content });
    });
  });
}

test('a layer that is only for launch gets its content from the last artifact if the buildpack writes only the metadata of the layer', async () => {
  await withBuilder(async (builder) => {
    await builder.build(source.folder, { configVars: firstVars('launch') });
    const second = await builder.build(source.folder, { configVars: { TYPES: 'launch', VERSION: '1' } });
    assert.equal(await contentOf(second.reference), 'first');
  });
});

test('threat 39: if a link is in the place of a reused layer, the layer replaces the link, and nothing is written to the target of the link', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'outside-'));
  try {
    // The user as whom the build runs must be able to list and enter this folder.
    await chmod(outside, 0o755);
    const build = `
      l="$CNB_LAYERS_DIR/l"
      if [ "$LINK" = yes ]; then ln -s ${outside} "$l"; else mkdir "$l"; echo first >"$l/content"; fi
      printf '[types]\\nlaunch = true\\n' >"$l.toml"
      ${webProcess}`;
    await using buildpacks = await SampleBuildpacks.write({ one: { build } });
    await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
    await builder.build(source.folder, { configVars: { LINK: 'no' } });
    const { reference } = await builder.build(source.folder, { configVars: { LINK: 'yes' } });
    assert.deepEqual(await readdir(outside), []);
    assert.equal(await contentOf(reference), 'first\n');
    assert.equal((await lstat(join(reference, 'layers/sample_one/l'))).isDirectory(), true);
  } finally {
    await rm(outside, { recursive: true });
  }
});

test('a later build changes only its own copy of a layer, not the earlier artifact that contains the layer', async () => {
  await withBuilder(async (builder) => {
    const first = await builder.build(source.folder, { configVars: firstVars('launch cache') });
    const second = await builder.build(source.folder, {
      configVars: { CONTENT: 'second', TYPES: 'launch cache' },
    });
    assert.equal(await contentOf(first.reference), 'first');
    assert.equal(await contentOf(second.reference), 'second');
  });
});

test('threat 64: a later build cannot change an artifact through a cached file that was a hard link to a file of the artifact', async () => {
  const build = `
    cd "$CNB_LAYERS_DIR"
    if [ -d c ]; then chmod u+w c/content; echo changed >c/content; exit 1; fi
    mkdir c l; echo first >c/content; ln c/content l/content
    printf '[types]\\ncache = true\\n' >c.toml; printf '[types]\\nlaunch = true\\n' >l.toml
    ${webProcess}`;
  await using buildpacks = await SampleBuildpacks.write({ one: { build } });
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  const { reference } = await builder.build(source.folder);
  await assert.rejects(builder.build(source.folder), { code: 'BUILD_FAILED' });
  assert.equal(await contentOf(reference), 'first\n');
});

test('a build restores layers from the newest finished artifact, even if an older artifact has a higher id', async () => {
  await withBuilder(async (builder) => {
    await builder.build(source.folder, { id: 'z', configVars: firstVars('launch cache') });
    await builder.build(source.folder, {
      id: 'a',
      configVars: { ...firstVars('launch cache'), CONTENT: 'newer' },
    });
    await builder.build(source.folder);
    assert.equal(found(builder).content, 'newer');
    await builder.builder.remove(tool('wikibot'), 'a');
  });
});

test('if a build does not use a cached layer, the next build does not get this layer', async () => {
  await withBuilder(async (builder) => {
    await builder.build(source.folder, { configVars: firstVars('cache') });
    await builder.build(source.folder);
    await builder.build(source.folder);
    assert.deepEqual(found(builder), { file: 'none', content: 'none' });
  });
});

test('threat 64: a build with no-cache uses nothing of an earlier build, and the cache is emptied', async () => {
  for (const types of ['cache', 'launch cache']) {
    await withBuilder(async (builder) => {
      await builder.build(source.folder, { configVars: firstVars(types) });
      await builder.build(source.folder, { useCache: false });
      assert.deepEqual(found(builder), { file: 'none', content: 'none' });
      assert.deepEqual(await readdir(join(builder.data, 'cache')), []);
    });
  }
});

test('threat 64: builds of one tool never see the cached layers of another tool', async () => {
  for (const types of ['cache', 'launch cache']) {
    await withBuilder(async (builder) => {
      await builder.build(source.folder, { configVars: firstVars(types) });
      await builder.build(source.folder, { tool: tool('other'), toolNumber: 2 });
      assert.deepEqual(found(builder), { file: 'none', content: 'none' });
    });
  }
});

test('threat 64: an isolated build sees neither the folder of the artifacts nor a file in an artifact of another tool', async () => {
  const peek = `ls ../../.. 2>/dev/null; cat ../../../wikibot/build-1/workspace/file.txt 2>&1 || true; ${webProcess}`;
  await using buildpacks = await SampleBuildpacks.write({ one: { build: peek } });
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  if (builder.sandbox.mode !== 'isolated') return;
  await builder.build(source.folder);
  await builder.build(source.folder, { tool: tool('other'), toolNumber: 2 });
  assert.doesNotMatch(builder.said, /of the tool|artifacts/);
});

test('after a failed build the cache is kept, except those layers of the failed buildpack that have metadata', async () => {
  for (const { version, content } of [
    { version: '', content: 'first' },
    { version: '1', content: 'none' },
  ]) {
    await withBuilder(async (builder) => {
      await builder.build(source.folder, {
        configVars: { CONTENT: 'first', TYPES: 'cache', VERSION: version },
      });
      await assert.rejects(builder.build(source.folder, { configVars: { STATUS: '1' } }));
      assert.equal(found(builder).content, 'first');
      await builder.build(source.folder);
      assert.equal(found(builder).content, content);
    });
  }
});

test('if the first build of a tool fails, the next build still finds its cached layers', async () => {
  await withBuilder(async (builder) => {
    await assert.rejects(
      builder.build(source.folder, { configVars: { CONTENT: 'first', TYPES: 'cache', STATUS: '1' } }),
    );
    await builder.build(source.folder);
    assert.equal(found(builder).content, 'first');
  });
});

test('a build that filled its disk leaves an empty cache, so that the next build can succeed', async () => {
  await withBuilder(async (builder) => {
    await builder.build(source.folder, { configVars: { CONTENT: 'first', TYPES: 'cache' } });
    await assert.rejects(builder.build(source.folder, { configVars: { FILL: '1' } }), {
      code: 'BUILD_OUT_OF_DISK',
    });
    await builder.build(source.folder);
    assert.equal(found(builder).content, 'none');
  });
});

test('threat 82: cleaning up removes unfinished artifacts and artifacts that nobody needs, but not the cache', async () => {
  await withBuilder(async (builder) => {
    await builder.build(source.folder, { configVars: { CONTENT: 'first', TYPES: 'cache' } });
    await builder.build(source.folder, { configVars: { TYPES: 'cache' } });
    await rm(join(builder.data, 'artifacts/wikibot/build-2/complete'));
    await builder.builder.cleanUp(tool('wikibot'), (id, isFinished) =>
      id === 'build-2' && isFinished ? 'keep' : 'remove',
    );
    assert.deepEqual(await readdir(join(builder.data, 'artifacts/wikibot')), []);
    await builder.build(source.folder);
    assert.equal(found(builder).content, 'first');
  });
});

test('threat 169: a build that makes thousands of folders beside its layers takes less than 2.5 s of the server’s processor time, because few programs remove the folders', async () => {
  const many =
    'mkdir "$CNB_LAYERS_DIR/d"{0..1999} 2>/dev/null || (cd "$CNB_LAYERS_DIR" && seq 2000 | xargs mkdir)';
  await using buildpacks = await SampleBuildpacks.write({ one: { build: `${many}\n${webProcess}` } });
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  const before = process.threadCpuUsage();
  const artifact = await builder.build(source.folder);
  const { user, system } = process.threadCpuUsage(before);
  assert.deepEqual(await readdir(join(artifact.reference, 'layers/sample_one')), []);
  assert.ok(user + system < 2_500_000, `${(user + system) / 1000} ms of processor time`);
});

/** The bin/build of a buildpack with ten layers that have the same file of 1 MiB. */
const tenLayers = `
  if [ -n "\${MAKE:-}" ]; then
    head -c 1048576 /dev/urandom >"$CNB_LAYERS_DIR/file"
    for n in 0 1 2 3 4 5 6 7 8 9; do mkdir "$CNB_LAYERS_DIR/l$n"; ln "$CNB_LAYERS_DIR/file" "$CNB_LAYERS_DIR/l$n/file"; done
    rm "$CNB_LAYERS_DIR/file"
  fi
  for n in 0 1 2 3 4 5 6 7 8 9; do
    { echo '[types]'; for type in $TYPES; do echo "$type = true"; done; } >"$CNB_LAYERS_DIR/l$n.toml"
  done
  ${webProcess}`;

for (const types of ['launch', 'launch cache', 'cache']) {
  test(`threat 176: a file with a hard link in each of ten layers with the types ${types} is copied once, not ten times`, async () => {
    await using buildpacks = await SampleBuildpacks.write({ one: { build: tenLayers } });
    await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
    await builder.build(source.folder, { configVars: { MAKE: 'yes', TYPES: types } });
    const artifact = await builder.build(source.folder, { configVars: { TYPES: types } });
    const none = new AbortController().signal;
    const isInArtifact = types !== 'cache';
    const layers = isInArtifact ? artifact.reference : join(builder.data, 'cache', tool('wikibot'));
    const { bytes, entries } = await diskUse(join(layers, isInArtifact ? 'layers' : ''), none);
    assert.ok(entries > 30, `${entries} files and folders`);
    assert.ok(bytes < 2 * 1024 * 1024, `${bytes} bytes`);
  });
}
