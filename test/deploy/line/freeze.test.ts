import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alice } from '../../support/alice.ts';
import { wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

const frozen = { code: 'FROZEN', message: 'the tool wikibot is frozen: the database moves' };

test('a freeze of a tool refuses a waiting push when its turn comes, and the push that is building goes live', async () => {
  await using place = await Place.make();
  place.buildsADay = 9;
  const { line } = await place.start();
  const one = await place.park('p1');
  const running = await line.submit(one);
  await place.builder.told.promise;
  const waiting = await line.submit(await place.park('p2', { oldCommit: one.commit }));
  place.store.freeze(wikibot, 'the database moves', 1);
  place.builder.may.resolve();
  assert.deepEqual(await running.verdict, { isLive: true, version: 1 });
  const reason = 'the tool wikibot is frozen: the database moves; v1 is still live';
  assert.deepEqual(await waiting.verdict, { isLive: false, reason });
  assert.match(place.log('p2'), /The operators of this server have to end the freeze/);
  assert.equal(await place.ref('refs/heads/main'), one.commit);
});

test('a frozen tool refuses pushes, rollbacks, redeploys and changes of config vars, but not a restart', async () => {
  await using place = await Place.make();
  place.builder.may.resolve();
  const { line } = await place.start();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  place.store.freeze(wikibot, 'the database moves', 1);
  await assert.rejects(line.submit(await place.park('p2', { oldCommit: one.commit })), frozen);
  await assert.rejects(line.rollback(wikibot, 1, alice), frozen);
  assert.throws(() => line.redeploy(wikibot, { useCache: true }, alice), frozen);
  assert.throws(() => line.configure(wikibot, { A: '1' }, alice), frozen);
  assert.equal((await line.restart(wikibot, alice).verdict).isLive, true);
  assert.equal(place.store.deployments(wikibot, 9).length, 2);
  place.store.unfreeze(wikibot);
  assert.equal((await line.configure(wikibot, { A: '1' }, alice)?.verdict)?.isLive, true);
});
