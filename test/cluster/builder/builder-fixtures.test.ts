import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ABuilder, fixtures, registryEnvironment } from '../../builder/support/a-builder.ts';
import { isNoWait } from '../../contracts/builder.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';

for (const fixture of ['seed-example', 'node-express', 'static-site']) {
  test(`the sample tool ${fixture} is built the same in the cluster and on this machine`, async () => {
    await using there = await AClusterBuilder.open();
    await using here = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
    const source = join(fixtures, fixture);
    const [image, slug] = await Promise.all([there.build(source), here.build(source)]);
    assert.deepEqual(image.processes, slug.processes);
    assert.deepEqual(image.buildpacks.map(withoutVersion), slug.buildpacks.map(withoutVersion));
    assert.deepEqual(image.service, slug.service);
    // The detected buildpacks, and the notes about the source.
    assert.deepEqual(
      beforeBuilding(there.lines).map(withoutVersion),
      beforeBuilding(here.lines).map(withoutVersion),
    );
  });
}

test('after a change of the source, a build in the cluster reuses the installed packages', async () => {
  await using builder = await AClusterBuilder.open();
  const source = await mkdtemp(join(tmpdir(), 'flask-'));
  await cp(join(fixtures, 'flask'), source, { recursive: true });
  await writeFile(join(source, 'Aptfile'), 'figlet\n');
  await builder.build(source);
  assert.doesNotMatch(builder.said, /Reusing/);
  await writeFile(join(source, 'change.txt'), 'a change');
  await builder.build(source);
  assert.match(builder.said, /Reusing the installed packages/);
  assert.match(builder.said, /Reusing Debian packages: figlet/);
  await rm(source, { recursive: true });
});

/** Hides versions, because the languages in the image may have other versions than those of this machine. */
function withoutVersion(text: string): string {
  return text.replaceAll(/\b\d+(\.\d+)+\b/g, 'VERSION');
}

function beforeBuilding(lines: readonly string[]): string[] {
  const said = lines.filter(isNoWait);
  return said.slice(
    0,
    said.findIndex((line) => line.startsWith('-----> Building')),
  );
}
