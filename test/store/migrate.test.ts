import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Database } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { migrations } from '../../src/store/migrations.ts';
import { DeploymentsTable } from '../../src/store/tables/deployments-table.ts';

const root = mkdtempSync(join(tmpdir(), 'migrate-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const newDatabase = () => new Database(join(root, `${count++}.sqlite`));
const version = (database: Database) =>
  database.get<{ user_version: number }>('PRAGMA user_version')?.user_version;

const one = 'CREATE TABLE one (a TEXT) STRICT';
const two = 'ALTER TABLE one ADD COLUMN b TEXT; INSERT INTO one VALUES (1, 2)';

test('each migration of the store runs once, in order', () => {
  const database = newDatabase();
  migrate(database, [one]);
  assert.equal(version(database), 1);
  migrate(database, [one, two]);
  migrate(database, [one, two]);
  assert.equal(version(database), 2);
  assert.deepEqual(
    database.all('SELECT * FROM one').map((row) => ({ ...(row as object) })),
    [{ a: '1', b: '2' }],
  );
  database.close();
});

test('threat 87: a migration of the store that fails halfway leaves the previous schema', () => {
  const database = newDatabase();
  migrate(database, [one]);
  assert.throws(() => migrate(database, [one, `${two}; INSERT INTO nowhere VALUES (1)`]), /nowhere/);
  assert.equal(version(database), 1);
  assert.deepEqual(database.all('SELECT * FROM one'), []);
  migrate(database, [one, two]);
  assert.equal(version(database), 2);
  database.close();
});

test('threat 87: the refusal of a store with a newer schema names both schema numbers', () => {
  const database = newDatabase();
  migrate(database, [one, two]);
  assert.throws(() => migrate(database, [one]), { code: 'STORE_NEWER', message: /schema 2.*up to 1/ });
  database.close();
});

test('an unfinished deployment in an old store, which did not record requests, is still unfinished after the migration, and has no request', () => {
  const database = newDatabase();
  migrate(database, migrations.slice(0, 2));
  database.script(`INSERT INTO tools (name) VALUES ('wikibot');
    INSERT INTO deployments (id, tool, kind, state, "commit", "by", door, credential, created_at)
    VALUES ('d1', 'wikibot', 'push', 'building', 'abc', 'alice', 'ssh', 'password', 1)`);
  migrate(database);
  const table = new DeploymentsTable(database);
  assert.equal(table.requestOf('d1'), null);
  assert.equal(table.unfinished()[0]?.id, 'd1');
  database.close();
});

test('threat 225: the migration deletes the stored requests of ended deployments, and keeps those of unfinished deployments and of live releases', () => {
  const database = newDatabase();
  migrate(database, migrations.slice(0, 17));
  database.script(`INSERT INTO tools (name, live_version) VALUES ('wikibot', 2);
    INSERT INTO deployments (id, tool, kind, state, "commit", "by", door, credential, created_at, ended_at, request)
    VALUES ('d1', 'wikibot', 'push', 'building', 'abc', 'alice', 'ssh', 'password', 1, NULL, '{}'),
      ('d2', 'wikibot', 'push', 'failed', 'abc', 'alice', 'ssh', 'password', 1, 2, '{}'),
      ('d3', 'wikibot', 'push', 'live', 'abc', 'alice', 'ssh', 'password', 1, 2, '{}'),
      ('d4', 'wikibot', 'push', 'live', 'abc', 'alice', 'ssh', 'password', 1, 2, '{}');
    INSERT INTO releases (tool, version, state, "commit", artifact, config_vars, description, "by", credential, deployment_id, created_at)
    VALUES ('wikibot', 1, 'replaced', 'abc', '{}', x'', '', 'alice', 'password', 'd3', 1),
      ('wikibot', 2, 'live', 'abc', '{}', x'', '', 'alice', 'password', 'd4', 1)`);
  migrate(database);
  const table = new DeploymentsTable(database);
  assert.deepEqual(
    ['d1', 'd2', 'd3', 'd4'].map((id) => table.requestOf(id)),
    [{}, null, null, {}],
  );
  database.close();
});
