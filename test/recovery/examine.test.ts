import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { timeStamp } from '../../src/core/disk/set-aside.ts';
import { createLog } from '../../src/core/log/log.ts';
import { readDataFacts } from '../../src/recovery/data-facts.ts';
import { examine, tellFindings } from '../../src/recovery/examine.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Makes a data folder that has only an empty folder for backups. @returns its settings. */
function place(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'examine-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const data = join(folder, 'data');
  mkdirSync(join(data, 'backups'), { recursive: true });
  return readConfig({ TOOLFORGE_PUSH_DATA: data, TOOLFORGE_PUSH_KEYS: join(folder, 'keys') });
}

test('threat 87: if the user directory is missing but has a backup, the server refuses to start, and names the command `restore directory`', async (t) => {
  const config = place(t);
  const backup = `backups/directory-${timeStamp(Date.now())}.yaml`;
  writeFileSync(join(config.data, backup), 'users: {alice: {}}\ntools: {}\n');
  const [first, ...more] = examine(await readDataFacts(config));
  assert.deepEqual(more, []);
  assert.equal(first?.kind, 'refuses');
  assert.equal(first.what, 'the user directory, directory.yaml, is missing, but there is a backup of it');
  assert.match(first.advice, new RegExp(`${backup}: npx toolforge-push restore directory`));
});

for (const { backupDays, isKept } of [
  { backupDays: 0, isKept: false },
  // The clock has jumped ahead since the last backup.
  { backupDays: 40, isKept: true },
]) {
  test(`threat 84: data that was set aside 40 days ago ${isKept ? 'stays' : 'is deleted'} if the newest backup is ${backupDays} days old`, async (t) => {
    const { data } = place(t);
    const old = new Date(Date.now() - 40 * DAY_MS);
    const aside = join(data, 'set-aside', timeStamp(old.getTime()));
    mkdirSync(aside, { recursive: true });
    const madeAt = new Date(Date.now() - backupDays * DAY_MS);
    const backup = join(data, `backups/store-${timeStamp(madeAt.getTime())}.sqlite`);
    writeFileSync(backup, '');
    utimesSync(backup, madeAt, madeAt);
    await tellFindings([], data, createLog('silent'));
    assert.equal(existsSync(aside), isKept);
  });
}
