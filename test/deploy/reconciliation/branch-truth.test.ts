import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { NullRuntime } from '../../../bench/null-back-ends.ts';
import type { CommitId } from '../../../src/core/names.ts';
import { followLive } from '../../../src/deploy/reconciliation/follow-live.ts';
import type { RollOut } from '../../../src/run/runtime.ts';
import { until } from '../../support/server.ts';
import { artifactOf, deploymentOf, releaseOf, wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

/** Opens a queue for a tool whose v1 is live. */
async function live() {
  const place = await Place.make();
  place.buildsADay = 9;
  place.builder.may.resolve();
  const { line } = await place.start();
  const one = await place.park('p1');
  assert.deepEqual(await (await line.submit(one)).verdict, { isLive: true, version: 1 });
  return { place, line, one: one.commit };
}

/** Makes a release of the commit live only in the store, as if a server died before it moved the branch. */
function record(place: Place, id: string, commit: CommitId): void {
  place.store.addDeployment(deploymentOf(id, { commit }));
  const { version } = place.store.addRelease(releaseOf(id, { commit, artifact: artifactOf(id) }));
  place.store.goLive(wikibot, version, id, 1);
}

const move = (place: Place, commit: CommitId) =>
  place.repositories.git(wikibot, ['update-ref', 'refs/heads/main', commit]);

test('threat 82: if release v3 went live and moved main, a late move of main to the earlier release v2 does not undo this', async () => {
  const { place, one } = await live();
  await using _place = place;
  const two = (await place.park('p2', { oldCommit: one })).commit;
  const three = (await place.park('p3', { oldCommit: two })).commit;
  record(place, 'd2', two);
  // The third deployment holds the turn to change refs, goes live and moves main.
  const letGo = await place.repositories.takeRefs(wikibot);
  const following = followLive(place.context, wikibot);
  const waits = await Promise.race([following.then(() => 'done'), place.ref('refs/heads/main')]);
  assert.equal(waits, one);
  record(place, 'd3', three);
  await move(place, three);
  await place.repositories.git(wikibot, ['update-ref', 'refs/releases/v3', three]);
  letGo();
  await following;
  assert.equal(await place.ref('refs/heads/main'), three);
});

test('threat 82: a push goes live even if main was behind the live commit and moves to the live commit while the processes of the push start', async () => {
  const { place, one } = await live();
  await using _place = place;
  const follow = () => followLive(place.context, wikibot);
  place.runtime = new (class extends NullRuntime {
    override async rollOut(rollOut: RollOut): Promise<void> {
      await follow();
      await super.rollOut(rollOut);
    }
  })();
  const { line } = await place.start();
  const two = (await place.park('p2', { oldCommit: one })).commit;
  record(place, 'd2', two);
  const ticket = await line.submit(await place.park('p3', { oldCommit: two }));
  assert.deepEqual(await ticket.verdict, { isLive: true, version: 3 });
  assert.equal(await place.ref('refs/heads/main'), place.store.release(wikibot, 3)?.commit);
});

for (const what of ['the same commit', 'a newer commit'] as const) {
  test(`promise 3: if main was pushed while a first push of master waited, master does not replace main (${what})`, async () => {
    await using place = await Place.make();
    place.buildsADay = 9;
    const { line } = await place.start();
    const one = await place.park('p1');
    const first = await line.submit(one);
    await place.builder.told.promise;
    const branchRef = 'refs/heads/master';
    const commit =
      what === 'the same commit' ? one.commit : (await place.park('x', { oldCommit: one.commit })).commit;
    const second = await line.submit(await place.park('p2', { commit, branchRef }));
    place.builder.may.resolve();
    assert.deepEqual(await first.verdict, { isLive: true, version: 1 });
    const verdict = await second.verdict;
    assert.match(
      verdict.isLive ? 'live' : verdict.reason,
      /only pushes to main are deployed; v1 is still live$/,
    );
    assert.equal(await place.ref('refs/heads/main'), one.commit);
    assert.equal(await place.ref('refs/heads/master'), '');
  });
}

test('threat 83: if the store fails, the end of a deployment is stored once the store works again', async () => {
  const { place, line, one } = await live();
  await using _place = place;
  place.builder.hold();
  const ticket = await line.submit(await place.park('p2', { oldCommit: one }));
  await place.builder.told.promise;
  const other = new DatabaseSync(join(place.folder, 'store.sqlite'));
  other.exec(`CREATE TRIGGER full BEFORE UPDATE ON deployments BEGIN SELECT RAISE(ABORT, 'none'); END`);
  place.builder.may.resolve();
  assert.equal((await ticket.verdict).isLive, false);
  assert.equal(place.store.deployment('p2')?.state, 'building');
  other.exec('DROP TRIGGER full');
  other.close();
  await until(async () => place.store.deployment('p2')?.state === 'failed', 'stored');
});
