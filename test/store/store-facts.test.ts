import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { readStoreFacts } from '../../src/store/store-facts.ts';
import { wikibot } from '../support/store-records.ts';

test('threat 82: if a server is killed at its first change of a restored store, the next read rolls the change back, and the store is complete', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'facts-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  store.tool(wikibot);
  store.close();
  const file = join(folder, 'store.sqlite');
  // A restored backup has no write-ahead log, so its first change writes a journal.
  const writer = new DatabaseSync(file);
  writer.exec('PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN');
  for (let count = 0; count < 200; count++)
    writer.prepare('INSERT INTO facts VALUES (?, ?)').run(`${count}`, 'x'.repeat(2000));
  const [killed, journal] = [join(folder, 'killed.sqlite'), join(folder, 'killed.sqlite-journal')];
  copyFileSync(file, killed);
  copyFileSync(`${file}-journal`, journal);
  writer.close();
  const facts = readStoreFacts(killed);
  assert.equal(facts.state, 'whole');
  assert.ok(facts.state === 'whole' && facts.tools.some(({ name }) => name === wikibot));
  assert.equal(existsSync(journal), false);
});
