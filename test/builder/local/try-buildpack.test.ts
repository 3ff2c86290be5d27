import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { tryBuildpack } from '../../../src/builder/local/try-buildpack.ts';
import { readConfig } from '../../../src/config.ts';
import { createLog } from '../../../src/core/log/log.ts';
import { progressTo } from '../../../src/core/progress.ts';

const buildpacks = resolve(import.meta.dirname, '../../../buildpacks');

/** Tries a copy of the buildpack `static` with one more link. Fails with `built` where its build would begin. */
async function tryWith(link: string, target: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tried-'));
  try {
    await writeFile(join(folder, 'key'), 'a key of this machine', { mode: 0o600 });
    await mkdir(join(folder, 'tried'));
    await cp(join(buildpacks, 'static'), join(folder, 'tried/static'), { recursive: true });
    await symlink(target.replace('BUILDPACKS', buildpacks), join(folder, 'tried/static', link));
    await tryBuildpack({
      buildpack: join(folder, 'tried/static'),
      source: folder,
      config: readConfig({ TOOLFORGE_PUSH_DATA: join(folder, 'data') }),
      openSandbox: async () => {
        throw new Error('built');
      },
      log: createLog('silent'),
      progress: progressTo(() => {}),
      signal: new AbortController().signal,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('threat 39: a buildpack with a link out of its folder is refused before its trial, even if the target of the link does not exist', async () => {
  for (const target of ['../../../key', '/etc/passwd', '../../lost'])
    await assert.rejects(tryWith('lib/linked', target), { code: 'BAD_BUILDPACK' }, target);
});

test('a buildpack that is tried may have links to its own files and to files of the server’s buildpacks', async () => {
  for (const target of ['../README.md', 'BUILDPACKS/shared/text.sh'])
    await assert.rejects(tryWith('lib/linked', target), /^Error: built$/, target);
});
