import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ToolName } from '../../../src/core/names.ts';
import { Maintenance } from '../../../src/run/local/maintenance-mode.ts';
import { releaseOf } from '../contract-steps.ts';

test('a tool in maintenance shows the page of its newest release; no link is followed, and a page above 256 KiB is refused', async () => {
  const root = await mkdtemp(join(tmpdir(), 'toolforge-push-maintenance-'));
  const releaseWith = async (version: number, files: Readonly<Record<string, string>>) => {
    const reference = join(root, `v${version}`);
    await mkdir(join(reference, 'workspace'), { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(reference, 'workspace', name, '..'), { recursive: true });
      await writeFile(join(reference, 'workspace', name), text);
    }
    return releaseOf('wikibot' as ToolName, version, {
      ...{ id: `b${version}`, kind: 'slug', reference, buildpacks: [], bytes: 1, processes: [] },
      service: { healthCheckPath: null },
    });
  };
  try {
    const maintenance = new Maintenance();
    const [plain, own, large] = [
      await releaseWith(1, {}),
      await releaseWith(2, { 'public/maintenance.html': 'back soon' }),
      await releaseWith(3, { 'maintenance.html': 'x'.repeat(256 * 1024 + 1) }),
    ];
    await writeFile(join(root, 'secret'), 'secret');
    await symlink(join(root, 'secret'), join(root, 'v1/workspace/maintenance.html'));
    await symlink(join(root, 'v2/workspace/public'), join(root, 'v1/workspace/public'));
    await maintenance.follow(own);
    assert.equal(maintenance.page('wikibot'), undefined);
    assert.equal(await maintenance.begin(plain), false);
    assert.equal(maintenance.page('wikibot'), null);
    await maintenance.follow(own);
    assert.equal(maintenance.page('wikibot'), 'back soon');
    await maintenance.follow(large);
    assert.equal(maintenance.page('wikibot'), null);
    maintenance.end('wikibot');
    assert.equal(maintenance.page('wikibot'), undefined);
    await assert.rejects(maintenance.begin(large), {
      code: 'PAGE_TOO_LARGE',
      message: 'the page maintenance.html in v3 of wikibot is larger than 256 KiB',
    });
    assert.equal(maintenance.page('wikibot'), undefined);
    maintenance.keep('wikibot');
    await maintenance.follow(await releaseWith(4, { 'maintenance.html': '<p>à bientôt</p>\n\n' }));
    assert.equal(maintenance.page('wikibot'), '<p>à bientôt</p>\n\n');
    maintenance.keep('wikibot');
    assert.equal(maintenance.page('wikibot'), null);
    await maintenance.follow(own);
    assert.equal(maintenance.page('wikibot'), 'back soon');
  } finally {
    await rm(root, { recursive: true });
  }
});
