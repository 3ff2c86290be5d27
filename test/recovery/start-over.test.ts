import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { DataConfig } from '../../src/recovery/data-facts.ts';
import { startOvers } from '../../src/recovery/start-over.ts';
import { loadOrMakeSecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { wikibot } from '../support/store-records.ts';

const path = process.env['PATH'] ?? '';

/** A data folder whose store has a tool with a config var. */
async function place(t: TestContext): Promise<DataConfig> {
  const folder = mkdtempSync(join(tmpdir(), 'start-over-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [data, keys] = [join(folder, 'data'), join(folder, 'keys')];
  await mkdir(data);
  await mkdir(keys);
  const store = new SqliteStore(data, loadOrMakeSecretsKey(keys));
  store.setConfigVars(wikibot, { NAME: 'secret' }, 'alice');
  store.close();
  return { data, keys, runtime: 'local', directory: 'file', deploy_branch: 'main' };
}

function isOpened({ data, keys }: DataConfig): Record<string, string> {
  const store = new SqliteStore(data, loadOrMakeSecretsKey(keys));
  try {
    return store.configVars(wikibot);
  } finally {
    store.close();
  }
}

test('threat 87: if secrets.key is an empty file, `start-over config-vars` sets the file aside and makes a new key', async (t) => {
  const config = await place(t);
  writeFileSync(join(config.keys, 'secrets.key'), '');
  await startOvers['config-vars'](config);
  assert.deepEqual(isOpened(config), {});
  assert.equal(readdirSync(config.keys).filter((name) => name.includes('set-aside')).length, 1);
});

for (const what of ['missing', 'damaged']) {
  test(`threat 87: if secrets.key is lost and the store is ${what}, the commands \`start-over config-vars\` and \`start-over store\` lead to a working store`, async (t) => {
    const config = await place(t);
    rmSync(join(config.keys, 'secrets.key'));
    const store = join(config.data, 'store.sqlite');
    if (what === 'missing') rmSync(store);
    else writeFileSync(store, 'x'.repeat(30_000));
    await assert.rejects(startOvers.store(config, path), { hint: /start-over config-vars/ });
    assert.match((await startOvers['config-vars'](config)).join('\n'), /start-over store/);
    assert.equal(existsSync(store), what === 'damaged');
    await startOvers.store(config, path);
    assert.deepEqual(isOpened(config), {});
  });
}
