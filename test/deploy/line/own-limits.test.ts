import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryLimit } from '../../../src/run/service-limits.ts';
import { alice } from '../../support/alice.ts';
import { artifactOf, releaseOf, wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

test('a tool with limits of its own builds as often and runs as many processes as these limits say', async () => {
  await using place = await Place.make();
  place.buildsADay = 9;
  place.builder.may.resolve();
  const { line } = await place.start();
  const one = await place.park('p1');
  assert.equal((await (await line.submit(one)).verdict).isLive, true);
  assert.throws(() => line.scale(wikibot, { web: 5 }, alice), { code: 'TOO_MANY_PROCESSES' });
  place.store.setOwnLimits(wikibot, { builds: 1, replicas: 5 });
  assert.equal((await line.scale(wikibot, { web: 5 }, alice).verdict).isLive, true);
  const refused = await (await line.submit(await place.park('p2', { oldCommit: one.commit }))).verdict;
  assert.match(
    refused.isLive ? '' : refused.reason,
    /at most 1 are allowed \(builds_a_day\); v1 is still live/,
  );
  place.store.setOwnLimits(wikibot, { replicas: 2 });
  assert.throws(() => line.scale(wikibot, { web: 3 }, alice), /at most 2 processes of each type may run/);
});

test('a memory limit for one tool replaces the setting run_memory, and the tool can still ask for less', () => {
  const release = releaseOf('d1', { artifact: artifactOf('d1') });
  const modest = {
    ...release,
    artifact: { ...release.artifact, service: { ...release.artifact.service, memoryBytes: 30 } },
  };
  assert.equal(memoryLimit({ ...release, version: 1 }, 'web', 50), 50);
  assert.equal(memoryLimit({ ...release, version: 1, mostMemoryBytes: 80 }, 'web', 50), 80);
  assert.equal(memoryLimit({ ...modest, version: 1, mostMemoryBytes: 80 }, 'web', 50), 30);
  assert.equal(memoryLimit({ ...modest, version: 1, mostMemoryBytes: 20 }, 'web', 50), 20);
});
