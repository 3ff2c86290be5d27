import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { removeTrees } from '../../../src/core/disk/remove-tree.ts';

const folder = mkdtempSync(join(tmpdir(), 'remove-tree-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('`removeTrees` removes files, folders and symbolic links, but not the targets of the links; a path that does not exist is no error', async () => {
  mkdirSync(join(folder, 'outside'));
  writeFileSync(join(folder, 'outside/file'), 'x');
  const inside = join(folder, 'inside');
  for (let count = 0; count < 450; count += 1) mkdirSync(join(inside, `d${count}`), { recursive: true });
  writeFileSync(join(inside, 'd7/file'), 'x');
  writeFileSync(join(inside, '-rf'), 'x');
  symlinkSync('../outside', join(inside, 'link'));
  await removeTrees([...readdirSync(inside), 'absent'].map((name) => join(inside, name)));
  assert.deepEqual(readdirSync(inside), []);
  assert.ok(existsSync(join(folder, 'outside/file')));
});
