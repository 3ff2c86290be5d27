import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { DeploymentLogs } from '../../../src/deploy/deployment-log.ts';
import { reconcile } from '../../../src/deploy/reconciliation/reconcile.ts';
import { deploymentOf, wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

/**
 * Prepares the data of a server that was killed after an atomic push of main and a tag went live, before any ref moved.
 */
async function killedInBetween() {
  const place = await Place.make();
  const { line } = await place.start();
  place.builder.may.resolve();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  const update = (...args: string[]) => place.repositories.git(wikibot, ['update-ref', ...args]);
  const none = '0'.repeat(40);
  const two = await place.park('p2', { oldCommit: one.commit });
  const withUpdates = [`update refs/tags/two ${two.commit} ${none}`, `delete refs/parked/p2/1 ${two.commit}`];
  await update('refs/parked/p2/1', two.commit);
  assert.deepEqual(await (await line.submit({ ...two, withUpdates })).verdict, { isLive: true, version: 2 });
  await update('-d', 'refs/tags/two');
  await update('-d', 'refs/releases/v2');
  await update('refs/heads/main', one.commit);
  await update('refs/deployments/p2', two.commit);
  await update('refs/parked/p2/1', two.commit);
  return { place, update, one: one.commit, two: two.commit };
}

test('if the server crashed after an atomic push went live, its next start moves main to the live commit and makes the tag of the push', async () => {
  const { place, two } = await killedInBetween();
  await using _place = place;
  await place.start();
  assert.equal(await place.ref('refs/heads/main'), two);
  assert.equal(await place.ref('refs/releases/v2'), two);
  assert.equal(await place.ref('refs/tags/two'), two);
  assert.equal(await place.ref('refs/parked'), '');
});

test('threat 236: a start of the server deletes the temporary refs of the tags of interrupted pushes, and keeps those of resumed ones and of unfinished imports', async () => {
  await using place = await Place.make();
  const { repositories, context, store } = place;
  const push = await place.park('p1', { withUpdates: [] });
  const logs = new DeploymentLogs(join(place.folder, 'deployments'));
  const parked = async () => {
    const names = await repositories.git(wikibot, ['for-each-ref', '--format=%(refname)', 'refs/parked']);
    return names.split('\n');
  };
  const { line } = await place.start();
  await line.submit(push);
  await place.builder.told.promise;
  await line.close();
  store.addDeployment({ ...deploymentOf('p2'), commit: push.commit });
  for (const id of ['p1', 'p2', 'joined'])
    await repositories.git(wikibot, ['update-ref', `refs/parked/${id}/0`, push.commit]);
  await reconcile(context, logs, new Set([wikibot]));
  assert.deepEqual(await parked(), ['refs/parked/joined/0', 'refs/parked/p1/0', 'refs/parked/p2/0']);
  assert.equal((await reconcile(context, logs)).length, 1);
  assert.deepEqual(await parked(), ['refs/parked/p1/0']);
});

test('if the server crashed after an atomic push went live, its next start moves main to the live commit, even if the tag of the push has moved', async () => {
  const { place, update, one, two } = await killedInBetween();
  await using _place = place;
  await update('refs/tags/two', one);
  await place.start();
  assert.equal(await place.ref('refs/heads/main'), two);
  assert.equal(await place.ref('refs/tags/two'), one);
});

test('a start of the server makes the missing ref of a release that only changed config vars', async () => {
  await using place = await Place.make();
  const { line } = await place.start();
  place.builder.may.resolve();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  await line.configure(wikibot, { A: '1' }, one.principal)?.verdict;
  assert.equal(await place.ref('refs/releases/v2'), one.commit);
  await place.repositories.git(wikibot, ['update-ref', '-d', 'refs/releases/v2']);
  await place.start();
  assert.equal(await place.ref('refs/releases/v2'), one.commit);
});

test('when the server starts, an artifact that the store does not know is set aside if it is finished, and removed if it is not finished', async () => {
  await using place = await Place.make();
  place.store.tool(wikibot);
  await place.start();
  assert.deepEqual(place.builder.fatesOfUnknown, ['set-aside', 'remove']);
});
