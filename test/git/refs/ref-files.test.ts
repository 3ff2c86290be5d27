import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { type CommitId, commitId, type ToolName, toolName } from '../../../src/core/names.ts';
import { readRefs, refNames } from '../../../src/git/refs/ref-files.ts';
import { Repositories } from '../../../src/git/repositories.ts';

const tool = toolName('hello') as ToolName;
const identity = {
  GIT_AUTHOR_NAME: 'Test',
  GIT_AUTHOR_EMAIL: 'test@example.org',
  GIT_COMMITTER_NAME: 'Test',
  GIT_COMMITTER_EMAIL: 'test@example.org',
};

let root: string;
let repositories: Repositories;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'ref-files-'));
});
after(() => rm(root, { recursive: true, force: true }));

/** Makes a new repository for one test. */
async function open(name: string): Promise<void> {
  repositories = new Repositories({
    folder: join(root, name),
    path: process.env['PATH'] ?? '',
    deployBranch: 'main',
  });
  await repositories.ensure(tool);
}

const git = (...args: string[]) => repositories.git(tool, args, { more: identity });

async function commit(message: string): Promise<CommitId> {
  const tree = await repositories.git(tool, ['mktree'], { input: '' });
  return commitId(
    await repositories.git(tool, ['commit-tree', tree], { input: message, more: identity }),
  ) as CommitId;
}

test('the server reads loose and packed refs; if a ref is both loose and packed, the loose one wins', async () => {
  await open('found');
  const [first, second] = [await commit('first'), await commit('second')];
  await git('update-ref', 'refs/heads/main', first);
  await git('update-ref', 'refs/heads/master', first);
  await git('tag', '--annotate', '--message=tag', 'v1', first);
  assert.deepEqual(
    [...(await readRefs(repositories, tool, ['refs/heads/main', 'refs/heads/none']))],
    [['refs/heads/main', first]],
  );
  await git('pack-refs', '--all', '--prune');
  await git('update-ref', 'refs/heads/main', second);
  const found = await readRefs(repositories, tool, ['refs/heads/main', 'refs/heads/master', 'refs/tags/v2']);
  assert.deepEqual(Object.fromEntries(found), { 'refs/heads/main': second, 'refs/heads/master': first });
});

test('for a symbolic ref, the server reads the commit of the ref to which the symbolic ref points', async () => {
  await open('symbolic');
  const first = await commit('first');
  await git('update-ref', 'refs/heads/other', first);
  await git('symbolic-ref', 'refs/heads/main', 'refs/heads/other');
  assert.equal((await readRefs(repositories, tool, ['refs/heads/main'])).get('refs/heads/main'), first);
});

test('the server lists the same ref names below a folder as git, whether packed or loose', async () => {
  await open('names');
  const first = await commit('first');
  assert.deepEqual(await refNames(repositories, tool, ['refs/deployments', 'refs/parked']), []);
  for (const name of ['deployments/a', 'parked/b/0', 'releases/v1'])
    await git('update-ref', `refs/${name}`, first);
  await git('pack-refs', '--all', '--prune');
  for (const name of ['deployments/c', 'parked/b/1']) await git('update-ref', `refs/${name}`, first);
  const parents = ['refs/deployments', 'refs/parked'];
  const listed = await git('for-each-ref', '--format=%(refname)', ...parents);
  assert.deepEqual((await refNames(repositories, tool, parents)).sort(), listed.split('\n'));
});

test('threat 229: a repository with more refs than a process may open files can be read, for example by a backup', async () => {
  await open('many');
  const folder = join(repositories.folder(tool), 'refs/tags');
  await mkdir(folder, { recursive: true });
  const names = Array.from({ length: 2000 }, (_, index) => `t${index}`);
  for (const name of names) await writeFile(join(folder, name), `${'1'.repeat(40)}\n`);
  const limit = async (files: string) =>
    await execa('prlimit', ['--pid', `${process.pid}`, ...files.split(' ')]);
  const { stdout: before } = await limit('--nofile --output=SOFT --noheadings --raw');
  await limit('--nofile=500:');
  try {
    const all = await refNames(repositories, tool, ['refs/tags']);
    assert.equal((await readRefs(repositories, tool, all)).size, 2000);
  } finally {
    await limit(`--nofile=${before}:`);
  }
});
