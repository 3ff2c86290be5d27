import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { forgottenBelow } from '../../src/store/tables/old-rows.ts';
import { artifactOf, buildOf, deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

const root = mkdtempSync(join(tmpdir(), 'old-rows-'));
after(() => rmSync(root, { recursive: true, force: true }));
const key = new SecretsKey(randomBytes(32));

const DAY_MS = 24 * 60 * 60 * 1000;
const MANY = 1100;
const now = 1_800_000_000_000;

interface Counts {
  readonly deployments: number;
  readonly builds: number;
  readonly releases: number;
}

function countsIn(folder: string): Counts {
  using database = new DatabaseSync(join(folder, 'store.sqlite'), { readOnly: true });
  const count = (table: string) =>
    Number(database.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.['count']);
  return { deployments: count('deployments'), builds: count('builds'), releases: count('releases') };
}

/** Adds a deployment whose release goes live. */
function addLive(store: SqliteStore, id: string, at: number): void {
  store.addDeployment(deploymentOf(id, { createdAt: at }));
  store.addBuild(buildOf(id, id, { startedAt: at }));
  store.endBuild(id, 'BUILD_SUCCESS', artifactOf(id), at);
  const { version } = store.addRelease(releaseOf(id, { artifact: artifactOf(id), createdAt: at }));
  store.goLive(wikibot, version, id, at);
}

/** Writes many rows at once, like `row` but numbered. The store must be closed. */
function addMany(folder: string, table: string, row: Readonly<Record<string, string>>): void {
  using database = new DatabaseSync(join(folder, 'store.sqlite'));
  const names = Object.keys(row).map((name) => `"${name}"`);
  database.exec(`WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < ${MANY})
    INSERT INTO ${table} (tool, ${names}) SELECT 'wikibot', ${Object.values(row)} FROM many`);
}

/** Writes many releases of one artifact that were live once, with the versions from 1 to `MANY`. */
function addReplaced(folder: string, artifact: string): void {
  addMany(folder, 'releases', {
    ...{
      version: 'n',
      state: `'replaced'`,
      commit: `'a'`,
      artifact: `'{"id":"${artifact}"}'`,
      config_vars: `x'00'`,
    },
    ...{ description: `''`, by: `'alice'`, credential: `''`, deployment_id: `'live'`, created_at: '0' },
  });
}

/** Writes many failed deployments with failed builds. */
function addFailed(folder: string, at: number): void {
  addMany(folder, 'deployments', {
    ...{ id: `'failed-' || n`, kind: `'push'`, state: `'failed'`, commit: `'a'`, by: `'alice'` },
    ...{ door: `'ssh'`, credential: `''`, created_at: `${at}`, ended_at: `${at}` },
  });
  addMany(folder, 'builds', {
    ...{ id: `'failed-' || n`, deployment_id: `'failed-' || n`, commit: `'a'`, state: `'BUILD_FAILURE'` },
    ...{ started_at: `${at}`, ended_at: `${at}` },
  });
}

test('threat 83: the store keeps the newest 1000 deployments of a tool, and older ones that have a release or have not ended', () => {
  const folder = mkdtempSync(join(root, 'data-'));
  const old = now - 3 * DAY_MS;
  const first = new SqliteStore(folder, key);
  addLive(first, 'first', old);
  addLive(first, 'second', old);
  first.forgetArtifact('first');
  first.addDeployment(deploymentOf('unfinished'));
  first.close();
  addFailed(folder, old);
  addMany(folder, 'config_changes', { by: `'alice'`, names: `x'00'`, at: 'n' });
  using store = withDispose(new SqliteStore(folder, key));
  store.dropOldRows(wikibot, now);
  assert.deepEqual(countsIn(folder), { deployments: 1003, builds: 1001, releases: 2 });
  assert.equal(store.deployment('failed-1'), null);
  using database = new DatabaseSync(join(folder, 'store.sqlite'), { readOnly: true });
  const changes = database.prepare('SELECT count(*) AS count, min(at) AS oldest FROM config_changes').get();
  assert.deepEqual({ ...changes }, { count: 1000, oldest: MANY - 999 });
  for (const kept of ['first', 'second', 'unfinished', `failed-${MANY}`])
    assert.equal(store.deployment(kept)?.id, kept);
  assert.equal(store.release(wikibot, 2)?.state, 'live');
  assert.equal(store.build('second')?.artifact?.id, 'second');
});

test('the store keeps all builds of the last day, because the daily limit on builds counts them', () => {
  const folder = mkdtempSync(join(root, 'data-'));
  const first = new SqliteStore(folder, key);
  first.tool(wikibot);
  first.close();
  addFailed(folder, now - DAY_MS / 2);
  using store = withDispose(new SqliteStore(folder, key));
  store.dropOldRows(wikibot, now);
  assert.equal(store.buildStarts(wikibot, now - DAY_MS).length, MANY);
});

test('a missing release counts as deleted by the clean-up only if it is older than the newest hundred in the store; with fewer than 100 releases, none counts so', () => {
  const folder = mkdtempSync(join(root, 'data-'));
  const first = new SqliteStore(folder, key);
  addLive(first, 'live', now);
  first.close();
  // The live release is v1. It gets a higher number, because older releases are added below.
  const later = new DatabaseSync(join(folder, 'store.sqlite'));
  later.exec(
    `UPDATE releases SET version = ${MANY + 1}; UPDATE tools SET live_version = ${MANY + 1}, last_version = ${MANY + 1}`,
  );
  later.close();
  addReplaced(folder, 'gone');
  using store = withDispose(new SqliteStore(folder, key));
  store.dropOldRows(wikibot, now);
  assert.equal(countsIn(folder).releases, 1000);
  const known = [...store.releaseCommits(wikibot).keys()];
  const oldest = MANY + 1 - 999;
  assert.deepEqual([Math.min(...known), forgottenBelow(known)], [oldest, MANY + 1 - 99]);
  assert.equal(forgottenBelow(known.slice(0, 99)), 0);
});

test('threat 248: the store keeps the newest 1000 releases of a tool, and of the older releases only the newest of each artifact', () => {
  const folder = mkdtempSync(join(root, 'data-'));
  const first = new SqliteStore(folder, key);
  addLive(first, 'old', now);
  addLive(first, 'live', now);
  first.close();
  // The live release is v2. It gets a higher number, because older releases are added below.
  const later = new DatabaseSync(join(folder, 'store.sqlite'));
  later.exec(`UPDATE releases SET version = ${MANY} + version; UPDATE releases SET version = 0 WHERE artifact ->> '$.id' = 'old';
    UPDATE tools SET live_version = ${MANY + 2}, last_version = ${MANY + 2}`);
  later.close();
  addReplaced(folder, 'live');
  using store = withDispose(new SqliteStore(folder, key));
  store.dropOldRows(wikibot, now);
  const known = [...store.releaseCommits(wikibot).keys()].sort((a, b) => a - b);
  assert.deepEqual([known.length, known[0], known[1]], [1001, 0, MANY + 2 - 1000]);
});

test('threat 83: with keep_history at 100, the store keeps the newest 100 changes of config vars and the newest 100 scheduled runs of a tool', () => {
  const folder = mkdtempSync(join(root, 'data-'));
  using store = withDispose(new SqliteStore(folder, key, undefined, 100));
  const run = { type: 'update', exitCode: 0, detail: '' };
  for (let count = 0; count < 105; count += 1) {
    store.setConfigVars(wikibot, { [`KEY_${count}`]: 'x' }, 'alice');
    store.addScheduledRun(wikibot, { ...run, startedAt: count, endedAt: count + 1 });
  }
  const changes = store.configChanges(wikibot, 1000);
  assert.deepEqual([changes.length, changes[0]?.added], [100, ['KEY_104']]);
  const runs = store.scheduledRuns(wikibot, null, 1000);
  assert.deepEqual([runs.length, runs[0]?.startedAt], [100, 104]);
});

function withDispose(store: SqliteStore): SqliteStore & Disposable {
  return Object.assign(store, { [Symbol.dispose]: () => store.close() });
}
