import assert from 'node:assert/strict';
import {
  existsSync,
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
import { type TestContext, test } from 'node:test';
import { SetAside, timeStamp } from '../../../src/core/disk/set-aside.ts';
import { SmallDisk } from '../../support/small-disk.ts';

test('threat 87: a folder on another disk is moved to set-aside too, and nothing of it is left in its old place', {
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

/** A data folder on a disk of its own, whose repositories are on another disk. */
function twoDisks(t: TestContext) {
  const disk = new SmallDisk({ mebibytes: 8, entries: 100 });
  const repositories = mkdtempSync(join(tmpdir(), 'set-aside-'));
  t.after(() => {
    disk[Symbol.dispose]();
    rmSync(repositories, { recursive: true });
  });
  symlinkSync(repositories, join(disk.folder, 'repositories'));
  mkdirSync(join(repositories, 'wikibot.git'));
  return { disk, original: join(repositories, 'wikibot.git') };
}

test('threat 87: files that are moved to another disk survive a loss of power', {
  skip: SmallDisk.whyNot,
}, async (t) => {
  const { disk, original } = twoDisks(t);
  writeFileSync(join(original, 'HEAD'), 'torn');
  const at = await new SetAside(disk.folder).move(join(disk.folder, 'repositories/wikibot.git'));
  assert.equal(existsSync(original), false);
  disk.losePower();
  disk.startAgain();
  assert.equal(readFileSync(join(disk.folder, at ?? '', 'HEAD'), 'utf8'), 'torn');
});

test('threat 87: a move to another disk that fails leaves the original and no part of a copy', {
  skip: SmallDisk.whyNot,
}, async (t) => {
  const { disk, original } = twoDisks(t);
  writeFileSync(join(original, 'HEAD'), 'torn');
  writeFileSync(join(original, 'pack'), Buffer.alloc(16 * 1024 * 1024, 1));
  const setAside = new SetAside(disk.folder, 0);
  await assert.rejects(setAside.move(join(disk.folder, 'repositories/wikibot.git')), { code: 'ENOSPC' });
  assert.deepEqual(readdirSync(original), ['HEAD', 'pack']);
  assert.deepEqual(readdirSync(join(disk.folder, 'set-aside', timeStamp(0), 'repositories')), []);
});
