import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
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

test('threat 254: in a data folder that was copied without its modes, other users can read no private file and enter no private folder, and tools still reach their files', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'data-folder-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = [
    'directory.yaml',
    'audit.log',
    'refused.log',
    'store.sqlite',
    'store.sqlite-wal',
    'renames.json',
  ];
  const folders = ['backups', 'deployments', 'logs', 'releases', 'repositories', 'set-aside'];
  const forTools = ['artifacts', 'run', 'sandbox', 'shared', 'stacks', 'pythons', 'buildpacks'];
  for (const name of [...folders, ...forTools]) mkdirSync(join(folder, name));
  for (const name of [...files, 'theirs.txt']) writeFileSync(join(folder, name), '');
  for (const name of files) chmodSync(join(folder, name), 0o644);
  for (const name of [...folders, ...forTools, 'theirs.txt']) chmodSync(join(folder, name), 0o755);
  await openDataFolder(folder);
  const modes = (names: string[]) => names.map((name) => statSync(join(folder, name)).mode & 0o777);
  assert.deepEqual(new Set(modes(files)), new Set([0o640]));
  assert.deepEqual(new Set(modes(folders)), new Set([0o750]));
  assert.deepEqual(new Set(modes([...forTools, 'theirs.txt'])), new Set([0o755]));
});

test('a private file of the data folder that the operator has mounted read-only does not keep the server from starting', {
  skip: process.getuid?.() !== 0,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'data-folder-'));
  t.after(async () => {
    await execa('umount', [file], { reject: false });
    rmSync(folder, { recursive: true });
  });
  const file = join(folder, 'directory.yaml');
  writeFileSync(file, '');
  chmodSync(file, 0o644);
  await execa('mount', ['--bind', file, file]);
  await execa('mount', ['-o', 'remount,bind,ro', file]);
  await openDataFolder(folder);
  assert.equal(statSync(file).mode & 0o777, 0o644);
});
