import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ReleaseCopies } from '../../../src/store/backups/release-copies.ts';
import { SecretsKey } from '../../../src/store/secrets.ts';
import { SqliteStore } from '../../../src/store/sqlite-store.ts';
import { artifactOf, buildOf, deploymentOf, releaseOf, wikibot } from '../../support/store-records.ts';

test('threat 87: a release copy that is a folder or lacks parts counts as damaged', (t) => {
  const data = mkdtempSync(join(tmpdir(), 'copies-'));
  t.after(() => rmSync(data, { recursive: true }));
  const copies = new ReleaseCopies(data);
  mkdirSync(copies.path(wikibot, 1), { recursive: true });
  writeFileSync(copies.path(wikibot, 2), `{"toolNumber":1,"release":{"tool":"${wikibot}","version":2}}`);
  writeFileSync(copies.path(wikibot, 3), 'null');
  for (const version of [1, 2, 3]) assert.equal(copies.read(wikibot, version), null);
});

test('copies of the newest releases and of releases for rollbacks are kept, and a new store can read the copies', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'copies-'));
  t.after(() => rmSync(data, { recursive: true }));
  const key = new SecretsKey(Buffer.alloc(32, 1));
  const store = new SqliteStore(data, key);
  const build = (id: string) => {
    store.addDeployment(deploymentOf(id));
    store.addBuild(buildOf(id, id));
    store.endBuild(id, 'BUILD_SUCCESS', artifactOf(id), 2);
  };
  for (const id of ['b1', 'b2', 'b3']) build(id);
  store.forgetArtifact('b1');
  const of = (version: number) => (version <= 2 ? 'b1' : version <= 4 ? 'b2' : 'b3');
  for (let version = 1; version <= 110; version++) {
    store.addDeployment(deploymentOf(`d${version}`));
    store.addRelease(releaseOf(`d${version}`, { artifact: artifactOf(of(version)) }));
    await store.copyRelease(wikibot, version, version);
    store.goLive(wikibot, version, `d${version}`, version);
  }
  // A copy of a release that this store does not have.
  const copies = new ReleaseCopies(data);
  writeFileSync(copies.path(wikibot, 200), '{}');
  store.dropOldCopies(wikibot);
  const kept = copies.versions(wikibot).sort((a, b) => a - b);
  // No release of b1 can run; v4 is the newest release of b2.
  assert.deepEqual(kept.slice(0, 2), [4, 11]);
  assert.equal(kept.length, 1 + 100 + 1);
  await store.copyReleases(wikibot);
  assert.equal(copies.versions(wikibot).length, kept.length);
  store.close();

  for (const name of ['store.sqlite', 'store.sqlite-wal', 'store.sqlite-shm'])
    rmSync(join(data, name), { force: true });
  const anew = new SqliteStore(data, key);
  anew.readBack(
    wikibot,
    Array.from({ length: 110 }, (_, index) => index + 1),
  );
  assert.equal(anew.tool(wikibot).liveVersion, 110);
  assert.equal(anew.releases(wikibot, 200).length, 101);
  anew.close();
});

test('threat 87: the copy of the live release is made again if the copy is damaged', async (t) => {
  const { data, store } = await storeWithLive(t);
  const copies = new ReleaseCopies(data);
  writeFileSync(copies.path(wikibot, 1), '{"tool');
  await store.copyReleases(wikibot);
  assert.equal(copies.read(wikibot, 1)?.release.version, 1);
  store.close();
});

test('threat 87: a release copy with a wrong byte counts as damaged; a copy without a checksum, as earlier versions made it, does not', async (t) => {
  const { data, store } = await storeWithLive(t);
  store.close();
  const copies = new ReleaseCopies(data);
  const text = readFileSync(copies.path(wikibot, 1), 'utf8');
  const { sum, ...copy } = JSON.parse(text);
  assert.equal(typeof sum, 'string');
  copy.release.artifact.reference = join(data, 'artifacts/wikibot', copy.release.artifact.id);
  assert.deepEqual(copies.read(wikibot, 1), copy);
  writeFileSync(copies.path(wikibot, 1), text.replace('"sealed":"A', '"sealed":"B'));
  assert.equal(copies.read(wikibot, 1), null);
  writeFileSync(copies.path(wikibot, 1), JSON.stringify(copy));
  assert.deepEqual(copies.read(wikibot, 1), copy);
});

/** A store in a new folder, in which v1 of wikibot is live. */
async function storeWithLive(t: TestContext): Promise<{ data: string; store: SqliteStore }> {
  const data = mkdtempSync(join(tmpdir(), 'copies-'));
  t.after(() => rmSync(data, { recursive: true }));
  const store = new SqliteStore(data, new SecretsKey(Buffer.alloc(32, 1)));
  store.addDeployment(deploymentOf('d1'));
  store.addRelease(releaseOf('d1'));
  await store.copyRelease(wikibot, 1, 5);
  store.goLive(wikibot, 1, 'd1', 5);
  return { data, store };
}
