import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ABuilder } from '../support/a-builder.ts';
import { SampleBuildpacks, webProcess } from '../support/sample-buildpacks.ts';
import { aSource } from '../support/with-builder.ts';

const source = aSource();

// A config var such as LD_LIBRARY_PATH can make a bin/detect run code of the tool.
test('threat 39: a link that one bin/detect leaves in place of the next bin/detect’s folder is not followed', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'outside-'));
  try {
    await chmod(outside, 0o711);
    const plans = '"$(dirname "$(dirname "$CNB_BUILD_PLAN_PATH")")"';
    await using buildpacks = await SampleBuildpacks.write(
      {
        first: { detect: `ln -s ${outside} ${plans}/sample_second || true; exit 100`, build: 'exit 1' },
        second: { build: webProcess },
      },
      ['first', 'second'].map((name) => `[[order]]\n[[order.group]]\nid = "sample/${name}"\n`).join(''),
    );
    await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
    if (builder.sandbox.mode === 'trusted') return;
    const artifact = await builder.build(source.folder);
    assert.deepEqual(artifact.buildpacks, ['sample/second 1']);
    assert.deepEqual(await readdir(outside), []);
    assert.equal((await stat(outside)).mode & 0o777, 0o711);
  } finally {
    await rm(outside, { recursive: true });
  }
});

test('threat 39: if a bin/detect replaces its output files by links and pipes, the push shows no other file of the server, and the build does not wait', async () => {
  const folder = '"$(dirname "$CNB_BUILD_PLAN_PATH")"';
  const detect = `cd ${folder}; rm output plan.toml; ln -s /etc/passwd output; mkfifo plan.toml; exit 0`;
  await using buildpacks = await SampleBuildpacks.write(
    { linking: { detect, build: 'true' }, second: { build: webProcess } },
    `[[order]]\n${['linking', 'second'].map((name) => `[[order.group]]\nid = "sample/${name}"\noptional = true\n`).join('')}`,
  );
  await using builder = await ABuilder.open({ buildpacks: buildpacks.folder });
  const artifact = await builder.build(source.folder);
  assert.deepEqual(artifact.buildpacks, ['sample/linking 1', 'sample/second 1']);
  assert.doesNotMatch(builder.said, /root:/);
});
