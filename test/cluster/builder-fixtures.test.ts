import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ABuilder, fixtures, registryEnvironment } from '../build/a-builder.ts';
import { checkOut } from '../contracts/builder.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';
import { scriptBuilderImage } from './script-builder.ts';

for (const fixture of ['seed-example', 'flask-apt', 'node-express', 'static-site', 'django-15']) {
  test(`${fixture} is built the same in the cluster and on this machine`, async () => {
    await using there = await AClusterBuilder.open();
    await using here = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
    const source = join(fixtures, fixture);
    const [image, slug] = await Promise.all([there.build(source), here.build(source)]);
    assert.deepEqual(image.processes, slug.processes);
    assert.deepEqual(image.buildpacks, slug.buildpacks);
    assert.deepEqual(image.service, slug.service);
    // What was detected, and what is said of the source.
    assert.deepEqual(
      there.lines.slice(
        0,
        there.lines.findIndex((line) => line.startsWith('-----> Building')),
      ),
      here.lines.slice(
        0,
        here.lines.findIndex((line) => line.startsWith('-----> Building')),
      ),
    );
  });
}

test('Flask is built within 25 s at first and within 12 s after a change of the source', async (t) => {
  await using builder = await AClusterBuilder.open();
  const source = await mkdtemp(join(tmpdir(), 'flask-'));
  await cp(join(fixtures, 'flask'), source, { recursive: true });
  const seconds: number[] = [];
  for (const change of ['first', 'second']) {
    await writeFile(join(source, 'change.txt'), change);
    const startedAt = performance.now();
    await builder.build(source);
    seconds.push((performance.now() - startedAt) / 1000);
    const done = builder.log.findLast(({ msg }) => msg === 'build done');
    t.diagnostic(`${change}: ${seconds.at(-1)?.toFixed(1)} s, of which ${JSON.stringify(done?.['timesMs'])}`);
  }
  await rm(source, { recursive: true });
  assert.match(builder.said, /Reusing the installed packages/);
  assert.ok((seconds[0] ?? 99) <= 25, `first: ${seconds[0]} s`);
  assert.ok((seconds[1] ?? 99) <= 12, `after a change: ${seconds[1]} s`);
});

test('a line of a build is told within a second (p99)', async (t) => {
  await using builder = await AClusterBuilder.open({ config: { builder_image: await scriptBuilderImage() } });
  const printing = 'for i in $(seq 400); do echo "at $(date +%s%3N)"; sleep 0.02; done';
  await builder.build(checkOut({ 'build.sh': printing }));
  const delays = builder.lines
    .flatMap((line, index) => {
      const at = /at (\d+)$/.exec(line.trim())?.[1];
      return at === undefined ? [] : [performance.timeOrigin + (builder.times[index] ?? 0) - Number(at)];
    })
    .sort((a, b) => a - b);
  assert.equal(delays.length, 400);
  const [p50, p99] = [delays[200] ?? 0, delays[395] ?? 0];
  t.diagnostic(`p50 ${Math.round(p50)} ms, p99 ${Math.round(p99)} ms`);
  assert.ok(p99 <= 1000, `p99 ${p99} ms`);
});
