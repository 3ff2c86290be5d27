import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { execa } from 'execa';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { StoreHealth } from '../../src/store/store-health.ts';
import { nameOf } from '../support/store-records.ts';

const root = mkdtempSync(join(tmpdir(), 'store-health-'));
after(() => rmSync(root, { recursive: true, force: true }));
const key = new SecretsKey(randomBytes(32));

/** A store whose write-ahead log is empty: all data is in its main file. */
function settledStore(): { folder: string; store: SqliteStore } {
  const folder = mkdtempSync(join(root, 'data-'));
  const first = new SqliteStore(folder, key);
  for (let number = 0; number < 500; number++) first.tool(nameOf(`tool-${number}`));
  first.close();
  return { folder, store: new SqliteStore(folder, key) };
}

test('repeated checks of a good store find nothing and change nothing', async () => {
  const { store } = settledStore();
  for (let count = 0; count < 3; count++) assert.equal(await new StoreHealth(store).complaint(), null);
  assert.equal(store.tools().length, 500);
  store.close();
});

// Other processes change the file, because closing it in this process would release the store's locks.
for (const { what, command } of [
  { what: 'was deleted', command: 'rm store.sqlite' },
  { what: 'was replaced', command: 'cp store.sqlite other && mv other store.sqlite' },
  { what: 'has lost its write-ahead log', command: 'rm store.sqlite-wal' },
  { what: 'was emptied', command: 'truncate -s 0 store.sqlite' },
  { what: 'was cut', command: 'truncate -s 8192 store.sqlite' },
  {
    what: 'was overwritten',
    command: 'dd if=/dev/urandom of=store.sqlite bs=4096 seek=1 count=20 conv=notrunc',
  },
]) {
  test(`threat 83: a store that ${what} while the server runs is reported as damaged`, async () => {
    const { folder, store } = settledStore();
    assert.equal(await new StoreHealth(store).complaint(), null);
    await execa('sh', ['-c', command], { cwd: folder });
    assert.equal(await new StoreHealth(store).complaint(), 'the store is damaged or is not a store');
  });
}

test('a thousand health checks at the same time test only once whether the store can be written, and only once whether it is whole', async () => {
  let count = 0;
  const assertWritable = () => {
    count += 1;
  };
  const assertWhole = async () => {
    count += 1;
    return 1;
  };
  const health = new StoreHealth({ assertWritable, assertWhole });
  await Promise.all(Array.from({ length: 1000 }, () => health.complaint()));
  assert.equal(count, 2);
});

test('threat 83: a check of the whole store that took 2 s on a busy disk is made again after a minute, and not earlier', async (context) => {
  let now = 1000;
  context.mock.method(performance, 'now', () => now);
  let count = 0;
  const assertWhole = async () => {
    count += 1;
    now += 2000;
    return 1;
  };
  const health = new StoreHealth({ assertWritable: () => {}, assertWhole });
  await health.complaint();
  now += 50_000;
  await health.complaint();
  assert.equal(count, 1);
  now += 10_000;
  await health.complaint();
  assert.equal(count, 2);
});

test('threat 249: a check that reads a large store does not hold up the server, and health checks meanwhile get the last result', async () => {
  const health = new StoreHealth({ assertWritable: () => {}, assertWhole: () => new Promise(() => {}) });
  const answers = await Promise.all([health.complaint(), health.complaint()]);
  assert.deepEqual(answers, [null, null]);

  const { folder, store } = settledStore();
  using database = new DatabaseSync(join(folder, 'store.sqlite'));
  database.exec('CREATE TABLE large (content BLOB)');
  const insert = database.prepare('INSERT INTO large VALUES (randomblob(1000000))');
  for (let count = 0; count < 150; count++) insert.run();
  const before = process.threadCpuUsage();
  const tookMs = await store.assertWhole();
  const { user, system } = process.threadCpuUsage(before);
  assert.ok(
    (user + system) / 1000 < tookMs / 2,
    `this thread ${(user + system) / 1000} ms, the check ${tookMs} ms`,
  );
  store.close();
});
