import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import type { Log } from '../../../src/core/log/log.ts';
import { BackupClock, Backups } from '../../../src/store/backups/backups.ts';
import { SecretsKey } from '../../../src/store/secrets.ts';
import { SqliteStore } from '../../../src/store/sqlite-store.ts';
import { SmallDisk } from '../../support/small-disk.ts';
import { wikibot } from '../../support/store-records.ts';

const HOUR_MS = 3600_000;

test('threat 83: the server makes no backup on a nearly full disk, and each backup deletes the unfinished file that a killed server left', {
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

test('threat 248: if a tool makes the store large, the server keeps only as many backups of the store as fit into a twentieth of the disk, but at least three', {
  skip: SmallDisk.whyNot,
}, async () => {
  using disk = new SmallDisk({ mebibytes: 128, entries: 1000 });
  const { folder } = disk;
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  try {
    store.setConfigVars(wikibot, { LARGE: 'x'.repeat(2 * 1024 * 1024) }, 'alice');
    const backups = new Backups(folder);
    const made: string[] = [];
    for (let hour = 0; hour < 6; hour++) made.push(await backups.backUpStore(HOUR_MS * hour));
    assert.deepEqual(await backups.list('store', HOUR_MS * 6), made.slice(-3).reverse());
    store.setConfigVars(wikibot, { LARGE: 'x'.repeat(7 * 1024 * 1024) }, 'alice');
    for (let hour = 6; hour < 10; hour++) made.push(await backups.backUpStore(HOUR_MS * hour));
    assert.deepEqual(await backups.list('store', HOUR_MS * 10), made.slice(-3).reverse());
  } finally {
    store.close();
  }
});

test('threat 87: after the first release, the store is backed up within a minute, not only an hour later', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'backups-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  t.after(() => store.close());
  let isLive = false;
  const made: (() => void)[] = [];
  const log = { info: () => made.shift()?.(), error: assert.fail } as unknown as Log;
  const backedUp = () => new Promise<void>((resolve) => made.push(resolve));
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  const atStart = backedUp();
  const clock = new BackupClock({
    data: folder,
    hasLive: () => isLive,
    isDirectoryGood: async () => false,
    log,
  });
  await atStart;
  store.tool(wikibot);
  isLive = true;
  const afterRelease = backedUp();
  // `BackupClock` sets its timer after it has logged the backup.
  await new Promise(setImmediate);
  mock.timers.tick(60_000);
  await afterRelease;
  const backups = new Backups(folder);
  assert.equal((await backups.list('store')).length, 2);
  assert.notEqual(await backups.newestGoodStore(), null);
  await clock[Symbol.asyncDispose]();
});

test('threat 87: the store is backed up every hour, and not more often', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'backups-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  t.after(() => store.close());
  store.tool(wikibot);
  const backups = new Backups(folder);
  const made: (() => void)[] = [];
  const backedUp = () => new Promise<void>((resolve) => made.push(resolve));
  const log = { info: () => made.shift()?.(), error: assert.fail } as unknown as Log;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() });
  t.after(() => mock.timers.reset());
  const atStart = backedUp();
  const options = { data: folder, hasLive: () => true, isDirectoryGood: async () => false, log };
  await using _clock = new BackupClock(options);
  await atStart;
  for (let count = 1; count <= 3; count += 1) {
    const [newest = ''] = await backups.list('store');
    // The file got its time from the machine's clock, but the test has moved its own clock.
    utimesSync(newest, (Date.now() - 1) / 1000, (Date.now() - 1) / 1000);
    const next = backedUp();
    // `BackupClock` sets its timer after it has logged the backup.
    await new Promise(setImmediate);
    mock.timers.tick(HOUR_MS - 1000);
    await new Promise(setImmediate);
    assert.equal((await backups.list('store')).length, count);
    mock.timers.tick(1000);
    await next;
    assert.equal((await backups.list('store')).length, count + 1);
  }
});

test('a user directory without a backup is backed up at the start of the server, even if the store’s backup is new', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'backups-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  t.after(() => store.close());
  const backups = new Backups(folder);
  await backups.backUpStore();
  writeFileSync(join(folder, 'directory.yaml'), 'users: {}\n');
  const log = { info: () => {}, error: assert.fail } as unknown as Log;
  const options = { data: folder, hasLive: () => true, isDirectoryGood: async () => true, log };
  await new BackupClock(options)[Symbol.asyncDispose]();
  assert.equal((await backups.list('directory')).length, 1);
  await new BackupClock(options)[Symbol.asyncDispose]();
  assert.equal((await backups.list('store')).length, 2, 'not again');
});

test('threat 84: new backups count as newer than backups with a time in the future, which are deleted first', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'backups-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  t.after(() => store.close());
  store.tool(wikibot);
  const backups = new Backups(folder);
  const now = Date.now();
  const yearAhead = now + 365 * 24 * 3600_000;
  const ahead: string[] = [];
  for (let hour = 0; hour < 25; hour += 1) ahead.push(await backups.backUpStore(yearAhead + hour * 3600_000));
  const first = await backups.backUpStore(now - 1);
  const second = await backups.backUpStore(now);
  assert.deepEqual(await backups.list('store'), [second, first, ...ahead.reverse().slice(0, 23)]);
  assert.equal(await backups.newestGoodStore(), second);
});
