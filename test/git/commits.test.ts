import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execa } from 'execa';
import { commitId } from '../../src/core/names.ts';
import { inspectCommit } from '../../src/git/commits.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { wikibot } from '../support/store-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'commits-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('threat 168: a file name of 30 MB, which git accepts, is refused without holding up the server', async () => {
  const path = process.env['PATH'] ?? '';
  const repositories = new Repositories({ folder, path, deployBranch: 'main' });
  await repositories.ensure(wikibot);
  const git = async (args: readonly string[], input: string | Uint8Array = '') => {
    const person = {
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@b',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@b',
    };
    const env = repositories.environment([], { GIT_DIR: repositories.folder(wikibot), ...person });
    return (await execa('git', args, { env, extendEnv: false, input })).stdout;
  };
  const blob = await git(['hash-object', '-w', '--stdin'], 'x\n');
  const entry = Buffer.alloc(30 * 1024 ** 2, 'a');
  entry.write('100644 ');
  const tree = await git(
    ['hash-object', '-t', 'tree', '-w', '--literally', '--stdin'],
    Buffer.concat([entry, Buffer.alloc(1), Buffer.from(blob, 'hex')]),
  );
  const commit = commitId(await git(['commit-tree', tree, '-m', 'long'])) ?? assert.fail();
  const before = process.threadCpuUsage();
  await assert.rejects(inspectCommit(repositories, wikibot, commit, { files: 100, bytes: 2 ** 20 }), {
    code: 'PATH_TOO_LONG',
    message: /^a file in the commit has a name that is too long to be written to disk \(a{60}…\)$/,
  });
  const { user, system } = process.threadCpuUsage(before);
  assert.ok(user + system < 500_000, `${(user + system) / 1000} ms of processor time`);
});
