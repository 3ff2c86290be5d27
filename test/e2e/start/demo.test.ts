import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';

test('the demo ignores settings, proxies and git configuration of the person who starts it', async () => {
  const home = await mkdtemp(join(tmpdir(), 'demo-'));
  try {
    await writeFile(join(home, '.gitconfig'), '[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = false\n');
    const { exitCode, all } = await execa(
      process.execPath,
      [resolve(import.meta.dirname, '../../../src/demo.ts')],
      {
        env: {
          HOME: home,
          http_proxy: 'http://127.0.0.1:9',
          TOOLFORGE_PUSH_PUBLIC_SSH: '127.0.0.1:9',
          TOOLFORGE_PUSH_PUBLIC_URL: 'http://127.0.0.1:9',
          TOOLFORGE_PUSH_DEPLOY_BRANCH: 'production',
        },
        reject: false,
        all: true,
      },
    );
    assert.equal(exitCode, 0, all);
    assert.match(all, /Hello from Toolforge[\s\S]*Hello again[\s\S]*Two pushes live, one rejected/);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});
