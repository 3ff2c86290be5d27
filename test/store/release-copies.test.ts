import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ReleaseCopies } from '../../src/store/release-copies.ts';
import { wikibot } from '../support/store-records.ts';

test('87: a copy of a release that is a folder or lacks parts counts as torn, and stops no start', (t) => {
  const data = mkdtempSync(join(tmpdir(), 'copies-'));
  t.after(() => rmSync(data, { recursive: true }));
  const copies = new ReleaseCopies(data);
  mkdirSync(copies.path(wikibot, 1), { recursive: true });
  writeFileSync(copies.path(wikibot, 2), `{"toolNumber":1,"release":{"tool":"${wikibot}","version":2}}`);
  writeFileSync(copies.path(wikibot, 3), 'null');
  for (const version of [1, 2, 3]) assert.equal(copies.read(wikibot, version), null);
});
