import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { checkOut } from '../../contracts/builder.ts';
import { registry, registryHost } from '../images.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';
import { scriptBuilderImage } from './script-builder.ts';

const signal = AbortSignal.timeout(600_000);
const source = checkOut({ 'build.sh': 'echo content >file' });

/** A builder, and the names and tags of its tool's images in the registry. */
async function open() {
  const builder = await AClusterBuilder.open({ config: { builder_image: await scriptBuilderImage() } });
  const below = builder.registry.slice(registryHost.length + 1);
  const name = `${below}/tool-wikibot/tool-wikibot`;
  return {
    builder,
    name,
    cache: `${below}/tool-wikibot/cache`,
    tags: async () => (await registry.tags(name, signal)).sort(),
    [Symbol.asyncDispose]: () => builder[Symbol.asyncDispose](),
  };
}

suite('images in the registry', { concurrency: 3 }, () => {
  test('threat 69: a built image is named by its digest, and tagged with its build, its release and `latest`', async () => {
    await using there = await open();
    const { builder, name, tags } = there;
    const one = await builder.build(source);
    const two = await builder.build(source);
    // The same source twice gives two images, so that one can be deleted without the other.
    assert.notEqual(one.reference, two.reference);
    await builder.builder.tag(builder.request('').tool, one, 1, signal);
    await builder.builder.tag(builder.request('').tool, two, 2, signal);
    assert.deepEqual(await tags(), ['build-1', 'build-2', 'latest', 'v1', 'v2']);
    assert.equal(`${registryHost}/${name}@${await registry.digestOf(name, 'v1', signal)}`, one.reference);
    assert.equal(await registry.digestOf(name, 'latest', signal), two.reference.split('@')[1]);
  });

  test('threat 71: removing a build’s image removes its tags, and no other image', async () => {
    await using there = await open();
    const { builder, name, tags } = there;
    const { tool } = builder.request('');
    const one = await builder.build(source, { id: 'first' });
    const two = await builder.build(source, { id: 'second' });
    await builder.builder.tag(tool, one, 1, signal);
    await builder.builder.remove(tool, 'first');
    assert.deepEqual(await tags(), ['latest', 'second']);
    assert.ok((await registry.facts(name, two.reference.split('@')[1] ?? '', signal)) !== null);
  });

  test('threat 71: a clean-up removes the image of a build that is to be removed, but not of a build that the store does not know', async () => {
    await using there = await open();
    const { builder, tags } = there;
    for (const id of ['first', 'second', 'third']) await builder.build(source, { id });
    const fates = new Map([
      ['first', 'remove'],
      ['second', 'keep'],
    ] as const);
    const fateOf = (id: string) => fates.get(id as 'first') ?? 'set-aside';
    await builder.builder.cleanUp(builder.request('').tool, fateOf, new Set());
    assert.deepEqual(await tags(), ['latest', 'second', 'third']);
  });

  test('if the server refuses the image of a finished build, it deletes the image from the registry', async () => {
    await using there = await open();
    const { builder, tags } = there;
    const noProcess = checkOut({ 'build.sh': 'rm /layers/sample_script/launch.toml' });
    await assert.rejects(builder.build(noProcess), { code: 'NO_PROCESS' });
    assert.deepEqual(await tags(), []);
  });

  test('a built image names its commit and its build', async () => {
    await using there = await open();
    const { builder, name } = there;
    const { id } = await builder.build(source);
    const facts = await registry.facts(name, id, signal);
    assert.deepEqual(JSON.parse(facts?.labels['io.buildpacks.project.metadata'] ?? '{}'), {
      source: { type: 'git', version: { commit: '1'.repeat(40) }, metadata: { build: id } },
    });
  });

  test('a build reuses the cached layer of an earlier build, except with no-cache, and a replaced cache is deleted from the registry', async () => {
    await using there = await open();
    const { builder, cache } = there;
    const layer = `
    layer=/layers/sample_script/kept
    if [ -f "$layer/made" ]; then echo "kept since $(cat "$layer/made")"; else echo 'made anew'; fi
    mkdir -p "$layer"; [ -f "$layer/made" ] || date +%s%N >"$layer/made"
    printf '[types]\\ncache = true\\nlaunch = true\\n' >"$layer.toml"`;
    await builder.build(checkOut({ 'build.sh': layer }));
    assert.match(builder.said, /made anew/);
    const first = await registry.digestOf(cache, 'latest', signal);
    await builder.build(checkOut({ 'build.sh': layer, other: 'changed' }));
    assert.match(builder.said, /kept since \d+/);
    await builder.build(checkOut({ 'build.sh': layer }), { useCache: false });
    assert.match(builder.said, /made anew/);
    // The registry no longer has the replaced cache.
    assert.notEqual(await registry.digestOf(cache, 'latest', signal), first);
    assert.equal(await registry.digestOf(cache, first ?? '', signal), null);
  });
});
