import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Artifacts } from '../../../src/builder/local/artifact-folders.ts';
import { SmallDisk } from '../../support/small-disk.ts';
import { wikibot } from '../../support/store-records.ts';

test('threat 82: a finished artifact has all its files after a loss of power', {
  skip: SmallDisk.whyNot,
}, async () => {
  using disk = new SmallDisk({ mebibytes: 32, entries: 1000 });
  const artifacts = new Artifacts(disk.folder);
  await artifacts.prepare(wikibot);
  const workspace = join(artifacts.folder(wikibot, 'b1'), 'workspace');
  mkdirSync(workspace, { recursive: true });
  writeFileSync(join(workspace, 'server.py'), 'print(1)\n');
  await artifacts.finish(wikibot, 'b1', async () => {});
  disk.losePower();
  disk.startAgain();
  assert.equal(artifacts.has(wikibot, 'b1'), true);
  assert.equal(readFileSync(join(workspace, 'server.py'), 'utf8'), 'print(1)\n');
});
