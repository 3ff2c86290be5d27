import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SetAside } from '../../../src/core/disk/set-aside.ts';
import { SmallDisk } from '../../support/small-disk.ts';

test('87: what is on a disk of its own is set aside too, and not left in its place', {
  skip: SmallDisk.whyNot,
}, async (t) => {
  using disk = new SmallDisk({ mebibytes: 8, entries: 100 });
  const data = mkdtempSync(join(tmpdir(), 'set-aside-'));
  t.after(() => rmSync(data, { recursive: true }));
  symlinkSync(disk.folder, join(data, 'repositories'));
  mkdirSync(join(disk.folder, 'wikibot.git/refs'), { recursive: true });
  writeFileSync(join(disk.folder, 'wikibot.git/HEAD'), 'torn');
  symlinkSync('nowhere', join(disk.folder, 'wikibot.git/refs/link'));
  const setAside = new SetAside(data);
  const file = await setAside.move(join(data, 'repositories/wikibot.git/HEAD'));
  assert.equal(readFileSync(join(data, file ?? ''), 'utf8'), 'torn');
  const folder = await setAside.move(join(data, 'repositories/wikibot.git'));
  assert.equal(readlinkSync(join(data, folder ?? '', 'refs/link')), 'nowhere');
  assert.deepEqual(
    readdirSync(disk.folder).filter((name) => name !== 'lost+found'),
    [],
  );
});
