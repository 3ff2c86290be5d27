import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DataConfig, readDataFacts } from '../../src/recovery/data-facts.ts';
import { examine } from '../../src/recovery/examine.ts';
import { restoreDirectory } from '../../src/recovery/restore.ts';
import { SmallDisk } from '../support/small-disk.ts';

const alice = 'users: {alice: {}}\ntools: {}\n';

function configOf(data: string): DataConfig {
  mkdirSync(join(data, 'backups'));
  return { data, keys: join(data, 'keys'), runtime: 'local', directory: 'file', deploy_branch: 'main' };
}

test('threat 83: if the disk is full, `restore directory` leaves the present user directory in place', {
  skip: SmallDisk.whyNot,
}, async () => {
  using disk = new SmallDisk({ mebibytes: 8, entries: 100 });
  const config = configOf(disk.folder);
  const path = join(disk.folder, 'directory.yaml');
  writeFileSync(path, alice);
  const backup = join(disk.folder, 'backups/directory-20261128T150000000Z.yaml');
  writeFileSync(backup, `${'# a comment\n'.repeat(20_000)}users: {bob: {}}\n`);
  const { bavail, bsize } = statfsSync(disk.folder);
  // Leaves space for the folders in set-aside, but not for the new file.
  writeFileSync(join(disk.folder, 'fill'), Buffer.alloc(bavail * bsize - 100_000));
  await assert.rejects(restoreDirectory(config, null), { code: 'ENOSPC' });
  assert.equal(readFileSync(path, 'utf8'), alice);
  rmSync(join(disk.folder, 'fill'));
  await restoreDirectory(config, null);
  assert.equal(readFileSync(path, 'utf8'), readFileSync(backup, 'utf8'));
  assert.deepEqual(
    readdirSync(disk.folder).filter((name) => name.startsWith('directory')),
    ['directory.yaml'],
  );
});

test('threat 87: `restore directory` and `doctor` take the newest good backup, not a newer torn backup', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'restore-directory-'));
  t.after(() => rmSync(data, { recursive: true }));
  const config = configOf(data);
  const good = 'backups/directory-20261128T150000000Z.yaml';
  writeFileSync(join(data, good), alice);
  writeFileSync(join(data, 'backups/directory-20261128T160000000Z.yaml'), 'users: {ali');
  writeFileSync(join(data, 'backups/directory-20261128T170000000Z.yaml'), '');
  assert.equal((await readDataFacts(config)).directoryBackup, good);
  await restoreDirectory(config, null);
  assert.equal(readFileSync(join(data, 'directory.yaml'), 'utf8'), alice);
  rmSync(join(data, good));
  await assert.rejects(restoreDirectory(config, null), { code: 'NO_BACKUP' });
  assert.equal(readFileSync(join(data, 'directory.yaml'), 'utf8'), alice);
});

test('threat 87: a directory.yaml that is a folder counts as damaged, and `restore directory` replaces it', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'restore-directory-'));
  t.after(() => rmSync(data, { recursive: true }));
  const config = configOf(data);
  const path = join(data, 'directory.yaml');
  mkdirSync(path);
  writeFileSync(join(data, 'backups/directory-20261128T150000000Z.yaml'), alice);
  const [first] = examine(await readDataFacts(config));
  assert.equal(first?.kind, 'refuses');
  assert.match(first.what, /directory\.yaml, cannot be read: it is a folder/);
  await restoreDirectory(config, null);
  assert.equal(readFileSync(path, 'utf8'), alice);
});
