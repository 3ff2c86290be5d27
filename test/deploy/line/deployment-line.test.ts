import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { DeployError } from '../../../src/core/errors.ts';
import type { Principal } from '../../../src/core/types.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { alice } from '../../support/alice.ts';
import { wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

const bob: Principal = { ...alice, uid: 'bob' };

/** Opens a queue in which v1 and then v2 went live, and a push of a third commit is building. */
async function building() {
  const place = await Place.make();
  place.buildsADay = 9;
  const { line } = await place.start();
  place.builder.may.resolve();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  const two = await place.park('p2', { oldCommit: one.commit });
  await (await line.submit(two)).verdict;
  place.builder.hold();
  const three = await place.park('p3', { oldCommit: two.commit });
  const running = await line.submit(three);
  await place.builder.told.promise;
  return { place, line, commits: { one: one.commit, two: two.commit, three: three.commit }, running };
}

function lose(place: Place, uid: string): void {
  place.assertStillMay = async (principal) => {
    if (principal.uid === uid) throw new DeployError('NO_ACCESS', `${uid} may no more`, 'Ask a maintainer.');
  };
}

test('a person who lost the right to deploy while their deployments waited deploys nothing, and the next deployment runs', async () => {
  const { place, line, running, commits } = await building();
  await using _place = place;
  const waiting = [
    await line.submit(await place.park('p4', { oldCommit: commits.three, principal: bob })),
    line.redeploy(wikibot, { useCache: false }, bob),
    await line.rollback(wikibot, 1, bob),
    line.configure(wikibot, { A: '1' }, bob),
    line.restart(wikibot, bob),
    line.scale(wikibot, { web: 2 }, bob),
  ];
  const next = line.restart(wikibot, alice);
  lose(place, 'bob');
  place.builder.may.resolve();
  assert.deepEqual(await running.verdict, { isLive: true, version: 3 });
  for (const ticket of waiting) {
    assert.ok(ticket !== null);
    const reason = 'bob may no more; v3 is still live';
    assert.deepEqual(await ticket.verdict, { isLive: false, reason });
    assert.equal(place.store.deployment(ticket.id)?.state, 'failed');
    assert.match(place.log(ticket.id), / ! {5}Bob may no more\.\n.*Ask a maintainer\.\n.*V3 is still live/i);
  }
  assert.deepEqual(await next.verdict, { isLive: true, version: 3 });
  assert.equal(place.builder.builds, 3);
  assert.deepEqual(place.store.configVars(wikibot), {});
  assert.equal(await place.ref('refs/heads/main'), commits.three);
});

test('a push that is already building goes live although its author has lost the right to deploy', async () => {
  const { place, running } = await building();
  await using _place = place;
  lose(place, 'alice');
  place.builder.may.resolve();
  assert.deepEqual(await running.verdict, { isLive: true, version: 3 });
});

test('if the author of a waiting push loses the right to deploy, another person who has pushed the same commit is told to push again', async () => {
  const { place, line, commits } = await building();
  await using _place = place;
  const four = await place.park('p4', { oldCommit: commits.three, principal: bob });
  const waiting = await line.submit(four);
  const joined = await line.submit(await place.park('p5', { ...four, id: 'p5', principal: alice }));
  assert.equal(joined.isJoined, true);
  lose(place, 'bob');
  place.builder.may.resolve();
  assert.equal((await waiting.verdict).isLive, false);
  const reason =
    'this push joined another push, which was refused; push again (bob may no more; v3 is still live)';
  assert.deepEqual(await joined.verdict, { isLive: false, reason });
  const again = await line.submit(await place.park('p6', { ...four, id: 'p6', principal: alice }));
  assert.deepEqual(await again.verdict, { isLive: true, version: 4 });
});

for (const { how, isRefused } of [
  { how: 'is cancelled', isRefused: false },
  { how: 'is refused', isRefused: true },
]) {
  test(`threat 215: a push that has joined a deployment leaves no refs if the deployment ${how}, because one person could otherwise make refs without end`, async () => {
    const { place, line, commits } = await building();
    await using _place = place;
    const four = await place.park('p4', { oldCommit: commits.three, principal: bob });
    const waiting = await line.submit(four);
    const joined = await line.submit(await place.park('p5', { ...four, id: 'p5', principal: alice }));
    assert.equal(joined.isJoined, true);
    for (const number of [0, 1])
      await place.repositories.git(wikibot, ['update-ref', `refs/parked/p5/${number}`, four.commit]);
    if (isRefused) lose(place, 'bob');
    else line.cancel(wikibot, waiting.id, alice);
    place.builder.may.resolve();
    assert.equal((await joined.verdict).isLive, false);
    const refs = await place.repositories.git(wikibot, ['for-each-ref', '--format=%(refname)']);
    assert.doesNotMatch(refs, /p5/);
    assert.match(refs, /refs\/deployments\/p4/);
  });
}

test('threat 228: an atomic push that has joined a deployment leaves no refs if the deployment goes live, but git refuses a tag of the push', async () => {
  const { place, line, commits } = await building();
  await using _place = place;
  const four = await place.park('p4', { oldCommit: commits.three, principal: bob });
  await line.submit(four);
  const withUpdates = [
    `update refs/tags/moved ${four.commit} ${commits.three}`,
    `delete refs/parked/p5/0 ${four.commit}`,
  ];
  const joined = await line.submit(
    await place.park('p5', { ...four, id: 'p5', principal: alice, withUpdates }),
  );
  assert.equal(joined.isJoined, true);
  await place.repositories.git(wikibot, ['update-ref', 'refs/parked/p5/0', four.commit]);
  place.builder.may.resolve();
  const verdict = await joined.verdict;
  assert.ok(!verdict.isLive);
  assert.match(verdict.reason, /is live, but the refs of this push could not be moved/);
  const refs = await place.repositories.git(wikibot, ['for-each-ref', '--format=%(refname)']);
  assert.doesNotMatch(refs, /p5/);
});

test('a waiting rollback does not go live if the user directory does not answer when its turn comes, and the verdict says why', async () => {
  const { place, line } = await building();
  await using _place = place;
  const waiting = await line.rollback(wikibot, 1, alice);
  place.assertStillMay = async () => {
    throw new DeployError('DIRECTORY_UNAVAILABLE', 'the directory is away', 'Try again in a minute.');
  };
  place.builder.may.resolve();
  const reason = 'the directory is away; v3 is still live';
  assert.deepEqual(await waiting.verdict, { isLive: false, reason });
});

for (const { end, heeds } of [
  { end: 'ends immediately', heeds: true },
  { end: 'ends even if the check then succeeds', heeds: false },
]) {
  test(`if a waiting deployment is cancelled while its author’s rights are checked, all its pushes report who cancelled it, and it ${end}`, async () => {
    const { place, line, running, commits } = await building();
    await using _place = place;
    const four = await place.park('p4', { oldCommit: commits.three });
    const waiting = await line.submit(four);
    const joined = await line.submit(await place.park('p5', { ...four, id: 'p5', principal: bob }));
    const asked = Promise.withResolvers<void>();
    place.assertStillMay = async (_principal, _tool, signal) => {
      asked.resolve();
      await new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => (heeds ? reject(signal.reason) : resolve()));
      });
    };
    place.builder.may.resolve();
    await running.verdict;
    await asked.promise;
    line.cancel(wikibot, waiting.id, alice);
    const verdict = { isLive: false, reason: 'cancelled by alice; v3 is still live' };
    assert.deepEqual([await waiting.verdict, await joined.verdict], [verdict, verdict]);
    assert.equal(place.store.deployment('p4')?.startedAt, null);
  });
}

test('if a rollback waits, a later push of the commit that is building becomes a deployment of its own, and goes live last', async () => {
  const { place, line, running, commits } = await building();
  await using _place = place;
  const rollback = await line.rollback(wikibot, 1, alice);
  const change = { commit: commits.three, oldCommit: commits.two };
  const again = await line.submit(await place.park('p4', change));
  assert.deepEqual([again.id, again.isJoined], ['p4', false]);
  const third = await line.submit(await place.park('p5', change));
  assert.deepEqual([third.id, third.isJoined], ['p4', true]);
  place.builder.may.resolve();
  const verdicts = await Promise.all([running, rollback, again, third].map(({ verdict }) => verdict));
  assert.deepEqual(
    verdicts,
    [3, 4, 5, 5].map((version) => ({ isLive: true, version })),
  );
  assert.equal(await place.ref('refs/heads/main'), commits.three);
  assert.equal(place.builder.builds, 3);
});

test('if a waiting rollback is cancelled, the push that waited behind it makes no release, because its commit is live already', async () => {
  const { place, line, commits } = await building();
  await using _place = place;
  const rollback = await line.rollback(wikibot, 1, alice);
  const change = { commit: commits.three, oldCommit: commits.two };
  const again = await line.submit(await place.park('p4', change));
  line.cancel(wikibot, rollback.id, alice);
  place.builder.may.resolve();
  assert.deepEqual(await again.verdict, { isLive: true, version: 3 });
  assert.match(place.log('p4'), /v3 is live already/);
  assert.equal(await place.ref('refs/deployments'), '');
});

test('if a push of another commit waits, a later push of the commit that is building becomes a deployment of its own', async () => {
  const { place, line, running, commits } = await building();
  await using _place = place;
  const other = await line.submit(await place.park('p4', { oldCommit: commits.two }));
  const again = await line.submit(await place.park('p5', { commit: commits.three, oldCommit: commits.two }));
  assert.deepEqual([again.id, again.isJoined], ['p5', false]);
  place.builder.may.resolve();
  assert.equal((await running.verdict).isLive, true);
  assert.equal((await other.verdict).isLive, false);
  assert.deepEqual(await again.verdict, { isLive: true, version: 3 });
});

test('config vars cannot be set without a restart during a deployment; if they are set at another time, the next release uses them, but a restart of the live release does not', async () => {
  const { place, line, running } = await building();
  await using _place = place;
  const store = () => line.configure(wikibot, { A: '1' }, bob, { isStoredOnly: true });
  assert.throws(store, { code: 'DEPLOYMENT_RUNNING' });
  place.builder.may.resolve();
  await running.verdict;
  // The deployment leaves the line after its verdict.
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(store(), null);
  await line.restart(wikibot, alice).verdict;
  assert.deepEqual(place.store.release(wikibot, 3)?.configVars, {});
  await line.configure(wikibot, { B: '2' }, alice)?.verdict;
  assert.deepEqual(place.store.release(wikibot, 4)?.configVars, { A: '1', B: '2' });
  const history = place.store.configChanges(wikibot, 9).map(({ version, by, added }) => [version, by, added]);
  assert.deepEqual(history, [
    [4, 'alice', ['B']],
    [null, 'bob', ['A']],
  ]);
});

test('a push may join an earlier deployment of its commit if only a redeploy, a change of config vars, a restart and a scale wait in between', async () => {
  const { place, line, running, commits } = await building();
  await using _place = place;
  const behind = [
    line.redeploy(wikibot, { useCache: true }, alice),
    line.configure(wikibot, { A: '1' }, alice),
    line.restart(wikibot, alice),
    line.scale(wikibot, { web: 2 }, alice),
  ];
  const again = await line.submit(await place.park('p4', { commit: commits.three, oldCommit: commits.two }));
  assert.deepEqual([again.id, again.isJoined], [running.id, true]);
  place.builder.may.resolve();
  assert.deepEqual(await again.verdict, { isLive: true, version: 3 });
  for (const ticket of behind) assert.ok((await ticket?.verdict)?.isLive);
  assert.equal(await place.ref('refs/heads/main'), commits.three);
});

test('a push may join an earlier deployment of its commit if a push of a descendant of this commit waits in between', async () => {
  const { place, line, running, commits } = await building();
  await using _place = place;
  const four = await place.park('p4', { oldCommit: commits.three });
  const descendant = await line.submit({ ...four, oldCommit: commits.two });
  const again = await line.submit(await place.park('p5', { commit: commits.three, oldCommit: commits.two }));
  assert.deepEqual([again.id, again.isJoined], [running.id, true]);
  place.builder.may.resolve();
  assert.deepEqual(await again.verdict, { isLive: true, version: 3 });
  assert.deepEqual(await descendant.verdict, { isLive: true, version: 4 });
});

test('threat 187: of the commits that one person pushes at the same time, git lists the files of one at a time', async () => {
  await using place = await Place.make();
  const log = join(place.folder, 'listed');
  const git = (await execa('which', ['git'])).stdout;
  const bin = join(place.folder, 'bin');
  await mkdir(bin);
  const listing = `echo begin >> ${log}; ${git} "$@"; sleep 0.1; echo end >> ${log}`;
  const stub = `#!/bin/sh\nif [ "$1" = ls-tree ]; then ${listing}; else exec ${git} "$@"; fi\n`;
  await writeFile(join(bin, 'git'), stub, { mode: 0o755 });
  const path = `${bin}:${process.env['PATH']}`;
  const folder = join(place.folder, 'repositories');
  Object.assign(place, { repositories: new Repositories({ folder, path, deployBranch: 'main' }) });
  const { line } = await place.start();
  const pushes = [await place.park('p1'), await place.park('p2'), await place.park('p3')];
  await Promise.all(pushes.map((push) => line.submit(push)));
  assert.equal(await readFile(log, 'utf8'), 'begin\nend\n'.repeat(3));
});
