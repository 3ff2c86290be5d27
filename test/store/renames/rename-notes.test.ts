import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { namesIn } from '../../../src/recovery/data-facts.ts';
import { followRenames } from '../../../src/store/renames/follow-renames.ts';
import { addNotes, readNotes } from '../../../src/store/renames/rename-notes.ts';
import { SecretsKey } from '../../../src/store/secrets.ts';
import { SqliteStore } from '../../../src/store/sqlite-store.ts';
import { readStoreFacts, type StoreFacts } from '../../../src/store/store-facts.ts';

const key = new SecretsKey(Buffer.alloc(32, 1));
const [a, b, preview] = ['wikibot', 'wiki-bot', 'wikibot-pr'] as [ToolName, ToolName, ToolName];

function place(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'renames-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function factsOf(folder: string): StoreFacts & { state: 'whole' } {
  const facts = readStoreFacts(join(folder, 'store.sqlite'));
  assert.ok(facts.state === 'whole');
  return facts;
}

function follow(folder: string): void {
  const facts = factsOf(folder);
  followRenames(folder, key, namesIn(folder, facts) ?? assert.fail(), facts.renames);
}

test('threat 205: the renames that a store with an older schema contains are read, and are written to renames.json', (t) => {
  const folder = place(t);
  const store = new SqliteStore(folder, key);
  store.tool(a);
  const note = store.renameTool(a, b, 7);
  store.close();
  const database = new DatabaseSync(join(folder, 'store.sqlite'));
  database.exec(`DELETE FROM facts WHERE name LIKE 'renamed %'; PRAGMA user_version = 16`);
  database.close();
  assert.deepEqual(factsOf(folder).renames, [note]);
  new SqliteStore(folder, key).close();
  assert.deepEqual(factsOf(folder).renames, [note]);
  follow(folder);
  assert.deepEqual(readNotes(folder), [note]);
});

test('threat 205: a new tool with the old name of a renamed tool gets neither the config vars nor the previews of the renamed tool; a second start of the server changes nothing', (t) => {
  const folder = place(t);
  const older = new SqliteStore(folder, key);
  older.setConfigVars(a, { SECRET: 'of alice' }, 'alice');
  older.setSharedConfig(a, ['SECRET']);
  older.addPreview(preview, a, { limits: {}, by: 'alice', at: 1 });
  const { number } = older.tool(a);
  older.close();
  addNotes(folder, [{ number, from: a, to: b, at: 2 }]);
  follow(folder);
  const store = new SqliteStore(folder, key);
  store.reuseName(a);
  assert.equal(store.tool(b).number, number);
  assert.deepEqual(store.configVars(b), { SECRET: 'of alice' });
  assert.deepEqual(store.configVars(a), {});
  assert.deepEqual(store.previews(), []);
  assert.deepEqual(store.configVars(preview), {});
  store.close();
  const before = factsOf(folder);
  follow(folder);
  assert.deepEqual(factsOf(folder), before);
});
