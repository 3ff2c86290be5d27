import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalBuilder } from '../../../src/builder/local/local-builder.ts';
import { createLog } from '../../../src/core/log/log.ts';
import { chooseSandbox } from '../../../src/sandbox/choose-sandbox.ts';
import { ABuilder } from '../support/a-builder.ts';
import { SampleBuildpacks, webProcess } from '../support/sample-buildpacks.ts';
import { aSource } from '../support/with-builder.ts';

const source = aSource();

// The next build finds own.toml, the file of a layer that is only for launch, if it can use the artifact of this build.
const build = `layer="$CNB_LAYERS_DIR/own"
  if [ -f "$layer.toml" ]; then echo 'it is there'; fi
  mkdir -p "$layer"; pwd >"$layer/where"
  printf '[types]\\nlaunch = true\\n' >"$layer.toml"
  ${webProcess}`;

for (const [mode, other] of [
  ['trusted', 'isolated'],
  ['isolated', 'trusted'],
] as const) {
  test(`an artifact of a build in ${mode} mode is usable only in this mode, and a build in ${other} mode reuses none of its layers`, async () => {
    await using buildpacks = await SampleBuildpacks.write({ one: { build } });
    await using first = await ABuilder.open({
      buildpacks: buildpacks.folder,
      sandbox: mode === 'trusted' ? 'trusted' : 'auto',
    });
    assert.equal(first.sandbox.mode, mode);
    const artifact = await first.build(source.folder);
    assert.equal(first.builder.whyUnusable(artifact), null);
    await first.build(source.folder);
    assert.match(first.said, /it is there/);

    const { sandbox } = await chooseSandbox(
      {
        sandbox: other,
        sandbox_uid: 710_000,
        blocked_networks: [],
        data: first.data,
      },
      createLog('error'),
    );
    const second = new LocalBuilder({
      config: first.config,
      sandbox,
      buildpacksFolder: buildpacks.folder,
      log: createLog('error'),
    });
    const how = mode === 'trusted' ? 'without' : 'with';
    assert.match(
      second.whyUnusable(artifact) ?? '',
      new RegExp(`^was built ${how} isolation, and tools are`),
    );
    first.lines = [];
    const signal = new AbortController().signal;
    const anew = await second.build(first.request(source.folder), first.progress(), signal);
    assert.doesNotMatch(first.said, /it is there/);
    assert.equal(second.whyUnusable(anew), null);
    assert.match(first.builder.whyUnusable(anew) ?? '', /^was built/);
  });
}

test('an artifact that was built for a cluster can be neither used nor rebased on one machine', async () => {
  await using builder = await ABuilder.open();
  const image = {
    id: 'b1',
    kind: 'image',
    reference: 'registry.example.org/tool-hello/hello@sha256:0',
    processes: [],
    buildpacks: [],
    service: { healthCheckPath: null },
    bytes: 1,
  } as const;
  assert.match(builder.builder.whyUnusable(image) ?? '', /^was built for a cluster/);
  // A rebase replaces the Debian system of an image. On one machine, a restart is enough.
  await assert.rejects(builder.build(source.folder, { rebaseOf: image }), {
    code: 'NO_REBASE',
    message: 'only images in a cluster can be rebased',
  });
});
