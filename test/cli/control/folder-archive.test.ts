import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execa } from 'execa';
import { deployArchiveCommand } from '../../../src/cli/commands/deploy-archive.ts';
import { folderToDeploy } from '../../../src/cli/control/folder-archive.ts';

const root = mkdtempSync(join(tmpdir(), 'folder-archive-'));
after(() => rmSync(root, { recursive: true, force: true }));

/** Makes a git work tree with the files `kept/a` and `left/b`. Tests change its `.git` as an attacker could. */
async function workTree() {
  const folder = mkdtempSync(join(root, 'tree-'));
  const git = async (...args: string[]) =>
    (await execa('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { cwd: folder })).stdout;
  await git('init', '--quiet');
  for (const path of ['kept/a', 'left/b']) {
    mkdirSync(join(folder, path, '..'));
    writeFileSync(join(folder, path), path);
  }
  await git('add', '--all');
  await git('commit', '--quiet', '-m', 'one');
  await git('remote', 'add', 'toolforge', 'ssh://alice@example.org/wikibot.git');
  return { folder, git };
}

/** The files that `deploy FOLDER` would send. */
async function sentFiles(folder: string): Promise<string[]> {
  const sent = await folderToDeploy(deployArchiveCommand, [folder]);
  assert.deepEqual(sent?.argv, ['deploy', 'wikibot', '-']);
  const chunks: Uint8Array[] = [];
  for await (const chunk of sent?.tar ?? []) chunks.push(chunk);
  const { stdout } = await execa('tar', ['t'], { input: Buffer.concat(chunks) });
  return stdout.split('\n').sort();
}

test('`deploy` of a folder starts no program that is named in the git settings of this folder', async () => {
  const { folder, git } = await workTree();
  const mark = join(root, 'started');
  const program = join(root, 'program');
  writeFileSync(program, `#!/bin/sh\ntouch '${mark}'\n`);
  chmodSync(program, 0o755);
  const hooks = join(folder, '.git/own-hooks');
  mkdirSync(hooks);
  symlinkSync(program, join(hooks, 'post-index-change'));
  await git('config', 'core.hooksPath', hooks);
  await git('config', 'core.fsmonitor', program);
  assert.deepEqual(await sentFiles(folder), ['kept/a', 'left/b']);
  assert.equal(existsSync(mark), false);
});

test('`deploy` of a folder in a git repository fetches no missing objects, because a fetch can start a program', async () => {
  const { folder, git } = await workTree();
  const mark = join(root, 'fetched');
  const tree = await git('rev-parse', 'HEAD:left');
  // Now the index names the folder `left` by the id of its tree, which git must read.
  await git('sparse-checkout', 'set', '--cone', '--sparse-index', 'kept');
  rmSync(join(folder, '.git/objects', tree.slice(0, 2), tree.slice(2)));
  await git('config', 'remote.other.url', `ext::touch ${mark}`);
  for (const [key, value] of [
    ['core.repositoryFormatVersion', '1'],
    ['extensions.partialClone', 'other'],
    ['remote.other.promisor', 'true'],
    ['protocol.ext.allow', 'always'],
  ])
    await git('config', key ?? '', value ?? '');
  await sentFiles(folder);
  assert.equal(existsSync(mark), false);
});

test('`deploy` of a folder sends no file that lies behind a symbolic link out of the folder, even if the git index lists the file', async () => {
  const { folder, git } = await workTree();
  const outside = mkdtempSync(join(root, 'outside-'));
  writeFileSync(join(outside, 'secret'), 'secret');
  const blob = await git('rev-parse', 'HEAD:kept/a');
  await git('update-index', '--add', '--cacheinfo', `100644,${blob},link/secret`);
  symlinkSync(outside, join(folder, 'link'));
  const files = await sentFiles(folder);
  assert.ok(!files.includes('link/secret'), files.join());
  assert.deepEqual(
    files.filter((path) => path !== 'link'),
    ['kept/a', 'left/b'],
  );
});
