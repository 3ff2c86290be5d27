import assert from 'node:assert/strict';
import { chown, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFile, editFile } from '../../../src/auth/file/atomic-file.ts';

test('if root writes directory.yaml or a file with a secret key, the file gets the owner of its folder, and only this owner may read it', {
  skip: process.getuid?.() !== 0 && 'only root can give files away',
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'atomic-file-'));
  t.after(() => rm(folder, { recursive: true }));
  await chown(folder, 12345, 12346);
  await editFile(join(folder, 'directory.yaml'), () => ({ after: 'users:\n', result: null }), '');
  await createFile(join(folder, 'key'), 'secret');
  for (const name of ['directory.yaml', 'key']) {
    const { uid, gid, mode } = await stat(join(folder, name));
    assert.deepEqual([uid, gid, mode & 0o777], [12345, 12346, 0o600], name);
  }
});
