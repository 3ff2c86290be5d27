import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDataFolder } from '../../../src/core/disk/data-folder.ts';

test('a folder like /tmp is refused as data folder and keeps its mode, because other users need it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'data-folder-'));
  t.after(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o1777);
  await assert.rejects(openDataFolder(folder), {
    code: 'DATA_FOLDER',
    message: /shared by all users/,
  });
  assert.equal(statSync(folder).mode & 0o7777, 0o1777);
  const own = join(folder, 'data');
  await openDataFolder(own);
  assert.equal(statSync(own).mode & 0o7777, 0o711);
});
