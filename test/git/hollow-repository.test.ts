import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SetAside } from '../../src/core/disk/set-aside.ts';
import { cleanUpRepositories } from '../../src/git/repository-clean-up.ts';
import { Place } from '../deploy/place.ts';
import { wikibot } from '../support/store-records.ts';

async function live() {
  const place = await Place.make();
  const { line } = await place.start();
  place.builder.may.resolve();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  return { place, line, one, part: (name: string) => join(place.repositories.folder(wikibot), name) };
}

for (const isFolderLeft of [false, true]) {
  test(`threat 87: a repository that lost its ${isFolderLeft ? 'objects' : 'objects folder'} is moved to set-aside, and its history can be pushed again`, async () => {
    const { place, one, part } = await live();
    await using _place = place;
    await rm(part('objects'), { recursive: true });
    if (isFolderLeft) await mkdir(part('objects'));
    await cleanUpRepositories(place.repositories, new SetAside(place.folder));
    const { line } = await place.start();
    assert.equal(await place.repositories.exists(wikibot), false);
    const [stamp = ''] = await readdir(join(place.folder, 'set-aside'));
    assert.ok(
      existsSync(join(place.folder, 'set-aside', stamp, `repositories/${wikibot}.git/packed-refs`)) ||
        existsSync(join(place.folder, 'set-aside', stamp, `repositories/${wikibot}.git/refs/releases/v1`)),
    );
    const again = await place.park('p2', { oldCommit: null });
    const verdict = await (await line.submit({ ...again, oldCommit: one.commit })).verdict;
    assert.deepEqual(verdict, { isLive: true, version: 2 });
    assert.equal(await place.ref('refs/heads/main'), again.commit);
  });
}

for (const missing of ['refs', 'HEAD']) {
  test(`threat 87: a start of the server repairs a repository that lost its ${missing}; main and the release ref keep their commit`, async () => {
    const { place, one, part } = await live();
    await using _place = place;
    await rm(part(missing), { recursive: true });
    await cleanUpRepositories(place.repositories, new SetAside(place.folder));
    const { line } = await place.start();
    assert.equal(await place.ref('refs/heads/main'), one.commit);
    assert.equal(await place.ref('refs/releases/v1'), one.commit);
    const two = await place.park('p2', { oldCommit: one.commit });
    assert.deepEqual(await (await line.submit(two)).verdict, { isLive: true, version: 2 });
  });
}

for (const missing of ['refs', 'HEAD']) {
  test(`threat 87: a repository that loses its ${missing} while the server runs gets it back and accepts pushes`, async () => {
    const { place, line, one, part } = await live();
    await using _place = place;
    await rm(part(missing), { recursive: true });
    assert.deepEqual(await line.configure(wikibot, { A: '1' }, one.principal)?.verdict, {
      isLive: true,
      version: 2,
    });
    assert.equal(await place.ref('refs/heads/main'), one.commit);
    await rm(part(missing), { recursive: true });
    const two = await place.park('p2', { oldCommit: one.commit });
    assert.deepEqual(await (await line.submit(two)).verdict, { isLive: true, version: 3 });
    assert.equal(await place.ref('refs/heads/main'), two.commit);
    assert.equal(await readFile(part('HEAD'), 'utf8'), 'ref: refs/heads/main\n');
  });
}

test('threat 87: if a repository has lost the live commit, `config set` and `redeploy` are refused with this reason, and a push of another history goes live', async () => {
  const { place, line, one, part } = await live();
  await using _place = place;
  await rm(part(''), { recursive: true });
  await place.repositories.ensure(wikibot);
  const reason = `the repository of wikibot has lost the commit ${one.commit.slice(0, 7)}; v1 is still live`;
  const lost = { isLive: false, reason };
  assert.deepEqual(await line.configure(wikibot, { A: '1' }, one.principal)?.verdict, lost);
  assert.deepEqual(await line.redeploy(wikibot, { useCache: true }, one.principal).verdict, lost);
  const other = await place.park('p2');
  assert.deepEqual(await (await line.submit(other)).verdict, { isLive: true, version: 3 });
  assert.equal(await place.ref('refs/heads/main'), other.commit);
});
