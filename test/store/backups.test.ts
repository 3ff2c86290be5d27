import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Backups } from '../../src/store/backups.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { wikibot } from '../support/store-records.ts';

test('83: a backup leaves the reserve of the disk to the store, and what a killed one left goes', {
  skip: SmallDisk.whyNot,
}, async () => {
  using disk = new SmallDisk({ mebibytes: 32, entries: 1000 });
  const { folder } = disk;
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  try {
    store.tool(wikibot);
    const left = join(folder, 'backups/store-20261128T150000000Z.sqlite.new');
    mkdirSync(join(folder, 'backups'));
    writeFileSync(left, Buffer.alloc(1024 * 1024));
    const backups = new Backups(folder);
    await backups.backUpStore();
    assert.equal(existsSync(left), false);
    for (let count = 0; count < 27; count++) {
      try {
        writeFileSync(join(folder, `large-${count}`), Buffer.alloc(1024 * 1024));
      } catch {
        break;
      }
    }
    await assert.rejects(backups.backUpStore(), { code: 'DISK_NEARLY_FULL' });
    assert.equal((await backups.list('store')).length, 1);
  } finally {
    store.close();
  }
});
