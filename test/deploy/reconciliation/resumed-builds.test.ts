import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { alice } from '../../support/alice.ts';
import { artifactOf, wikibot } from '../../support/store-records.ts';
import { ElsewhereBuilder, Place } from '../place.ts';

test('a build that outlives its server is resumed by the next server, and its release goes live with the tags of the push', async () => {
  await using place = await Place.make();
  const push = await place.park('p1', { useCache: false });
  const tag = `update refs/tags/one ${push.commit} ${'0'.repeat(40)}`;
  const first = await place.start();
  const { verdict } = await first.line.submit({ ...push, withUpdates: [tag] });
  await place.builder.told.promise;
  await first.line.close();
  const told = await verdict;
  assert.ok(!told.isLive);
  assert.match(
    told.reason,
    /the build continues.*push again after the restart to follow the build; nothing is live yet$/,
  );
  assert.match(
    place.log('p1'),
    / ! {5}The server is being stopped; the build continues, and the server resumes it/,
  );
  assert.equal(place.store.deployment('p1')?.state, 'building');
  assert.equal(place.store.build('p1')?.state, 'BUILD_RUNNING');
  const { startedAt } = place.store.deployment('p1') ?? {};

  const second = await place.start();
  assert.equal(second.resumed, 1);
  assert.deepEqual(place.builder.spared, ['p1']);
  assert.equal(place.store.deployment('p1')?.state, 'building');
  assert.doesNotMatch(place.log('p1'), /Interrupted/);
  const joining = await second.line.submit(await place.park('p2', { commit: push.commit }));
  assert.deepEqual([joining.id, joining.isJoined], ['p1', true]);
  place.builder.may.resolve();
  assert.deepEqual(await joining.verdict, { isLive: true, version: 1 });
  assert.equal(place.builder.builds, 1);
  assert.equal(await place.ref('refs/heads/main'), push.commit);
  assert.equal(await place.ref('refs/tags/one'), push.commit);
  assert.equal(await place.ref('refs/deployments'), '');
  assert.equal(place.store.build('p1')?.state, 'BUILD_SUCCESS');
  assert.equal(place.store.deployment('p1')?.startedAt, startedAt);
  assert.deepEqual(
    place
      .log('p1')
      .split('\n')
      .filter((line) => /Building|one|two/.test(line) && !/Push from/.test(line)),
    ['-----> Building', '       one', '       two'],
  );
});

test('if a build ends while the server is being stopped, its release goes live after the next start of the server', async () => {
  await using place = await Place.make();
  const { builder } = place;
  builder.build = async ({ id }, _progress, signal) => {
    builder.builds += 1;
    builder.told.resolve();
    await once(signal, 'abort');
    return artifactOf(id);
  };
  const first = await place.start();
  const { verdict } = await first.line.submit(await place.park('p1', { useCache: false }));
  await builder.told.promise;
  await first.line.close();
  assert.ok(!(await verdict).isLive);
  assert.equal(place.store.deployment('p1')?.state, 'building');
  const { line, resumed } = await place.start();
  assert.equal(resumed, 1);
  for await (const _ of line.follow('p1', { isColoured: false, signal: AbortSignal.timeout(30_000) }));
  const { state, version } = place.store.deployment('p1') ?? {};
  assert.deepEqual([state, version, builder.builds], ['live', 1, 1]);
});

test('threat 82: a push that was refused after its build does not go live later, even if the store could not record the end of the deployment', async () => {
  await using place = await Place.make();
  const { builder, store } = place;
  builder.build = async ({ id }) => artifactOf(id);
  const first = await place.start();
  const update = store.updateDeployment.bind(store);
  store.updateDeployment = (id, change) => {
    if (change.state === 'releasing' || change.endedAt !== undefined) throw new Error('disk I/O error');
    update(id, change);
  };
  const { verdict } = await first.line.submit(await place.park('p1'));
  assert.ok(!(await verdict).isLive);
  await first.line.close();
  assert.equal(store.deployment('p1')?.state, 'building');
  store.updateDeployment = update;
  const { resumed } = await place.start();
  assert.equal(resumed, 0);
  // The first server tries again to store the end of the deployment, so it may have stored `failed` by now.
  assert.match(store.deployment('p1')?.state ?? '', /^(interrupted|failed)$/);
  assert.equal(store.tool(wikibot).liveVersion, null);
});

test('a redeploy that the server resumes after its restart stays a redeploy, counts as one build, and has its heading once in the log', async () => {
  await using place = await Place.make();
  place.builder.may.resolve();
  const { line } = await place.start();
  assert.ok((await (await line.submit(await place.park('p1'))).verdict).isLive);
  await line.close();
  place.builder = new ElsewhereBuilder();
  const first = await place.start();
  const { id } = first.line.redeploy(wikibot, { useCache: false }, alice);
  await place.builder.told.promise;
  await first.line.close();
  const { line: second, resumed } = await place.start();
  assert.equal(resumed, 1);
  place.builder.may.resolve();
  for await (const _ of second.follow(id, { isColoured: false, signal: AbortSignal.timeout(30_000) }));
  const { state, version } = place.store.deployment(id) ?? {};
  assert.deepEqual([state, version], ['live', 2]);
  assert.equal(place.log(id).match(/-----> Redeploy of/g)?.length, 1);
});

for (const { lost, change } of [
  { lost: 'build', change: (place: Place) => place.builder.going.clear() },
  {
    lost: 'commit',
    change: (place: Place) => place.repositories.git(wikibot, ['update-ref', '-d', 'refs/deployments/p1']),
  },
]) {
  test(`after a restart of the server, a deployment whose ${lost} is gone counts as interrupted`, async () => {
    await using place = await Place.make();
    const push = await place.park('p1');
    const { line } = await place.start();
    await line.submit(push);
    await place.builder.told.promise;
    await line.close();
    await change(place);
    const { resumed } = await place.start();
    assert.equal(resumed, 0);
    assert.equal(place.store.deployment('p1')?.state, 'interrupted');
    assert.equal(place.store.build('p1')?.state, 'BUILD_UNKNOWN');
    assert.deepEqual(place.builder.spared, []);
    assert.match(place.log('p1'), /Interrupted: the server was restarted\. Push again\.\n$/);
  });
}

test('threat 86: a build is resumed although the cluster does not answer while the server starts', async () => {
  await using place = await Place.make();
  const push = await place.park('p1');
  const first = await place.start();
  await first.line.submit(push);
  await place.builder.told.promise;
  await first.line.close();
  place.builder.resumable = () => Promise.reject(new Error('the cluster is away'));
  const { line, resumed } = await place.start();
  assert.equal(resumed, 1);
  assert.deepEqual(place.builder.spared, ['p1']);
  place.builder.may.resolve();
  for await (const _ of line.follow('p1', { isColoured: false, signal: AbortSignal.timeout(30_000) }));
  assert.equal(place.store.deployment('p1')?.state, 'live');
  assert.equal(place.builder.builds, 1);
});

test('if a build is cancelled while the server is being stopped, the build ends', async () => {
  await using place = await Place.make();
  const push = await place.park('p1');
  const { line } = await place.start();
  const { verdict } = await line.submit(push);
  await place.builder.told.promise;
  line.cancel(wikibot, null, alice);
  await line.close();
  assert.deepEqual(await verdict, { isLive: false, reason: 'cancelled by alice; nothing is live yet' });
  assert.equal(place.store.deployment('p1')?.state, 'cancelled');
});
