import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { SetAside } from '../../../src/core/disk/set-aside.ts';
import { setTornAside, tornRefs } from '../../../src/git/refs/torn-refs.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { cleanUpRepositories } from '../../../src/git/repository-clean-up.ts';
import { makeHead } from '../../../src/git/repository-layout.ts';
import { wikibot } from '../../support/store-records.ts';

let root: string;
let repositories: Repositories;
let folder: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'torn-refs-'));
  repositories = new Repositories({
    folder: join(root, 'repositories'),
    path: process.env['PATH'] ?? '',
    deployBranch: 'main',
  });
  folder = await repositories.ensure(wikibot);
});
after(() => rm(root, { recursive: true, force: true }));

for (const { name, text } of [
  { name: 'CRLF line ends', text: '[core]\r\n\tbare = true\r\n\r\n; note\r\n' },
  { name: 'CRLF after a continued line', text: '[user]\r\n\tname = a \\\r\n  b\r\n' },
  { name: 'a quote in the name of a subsection', text: '[url "a\\"b"]\n\tinsteadOf = c\n' },
  { name: 'a backslash at the end of a subsection', text: '[url "a\\\\"]\n\tinsteadOf = c\n' },
  { name: 'a line separator in a value', text: '[user]\n\tname = a\u2028b\n' },
]) {
  test(`threat 87: if the file \`config\` of a repository has ${name}, it is valid for git and does not count as damaged`, async () => {
    const path = join(folder, 'config');
    await writeFile(path, text);
    execFileSync('git', ['config', '--file', path, '--list'], { stdio: 'ignore' });
    assert.deepEqual(tornRefs(repositories, wikibot), []);
  });
}

for (const text of ['[url "a\\"]\n\tinsteadOf = c\n', '[core]\r\n\tbare = true\r\n[rem']) {
  test(`threat 87: the file \`config\` of a repository counts as damaged if it contains ${JSON.stringify(text)}`, async () => {
    const path = join(folder, 'config');
    await writeFile(path, text);
    assert.throws(() => execFileSync('git', ['config', '--file', path, '--list'], { stdio: 'ignore' }));
    assert.deepEqual(tornRefs(repositories, wikibot), ['config']);
  });
}

test('threat 87: if the line of a tag in packed-refs is damaged, the repair drops only this tag, and git can read the others', async () => {
  const tool = wikibot;
  const identity = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@example.org' };
  const more = { ...identity, GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@example.org' };
  const git = (...args: string[]) => repositories.git(tool, args, { more, input: '' });
  await writeFile(join(folder, 'config'), '[core]\n\tbare = true\n');
  const commit = await git('commit-tree', '-m', 'x', await git('mktree'));
  for (const name of ['one', 'two', 'z']) await git('tag', '-a', '-m', name, name, commit);
  await git('pack-refs', '--all', '--prune');
  const path = join(folder, 'packed-refs');
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace(/^.{4}(.* refs\/tags\/two)$/m, '\0\0\0\0$1'));
  await assert.rejects(git('for-each-ref'), /unexpected line/);
  const [damaged, ...others] = await setTornAside(repositories, tool, new SetAside(root));
  assert.equal(damaged?.file, 'packed-refs');
  assert.deepEqual(others, []);
  assert.equal(await git('for-each-ref', '--format=%(refname)'), 'refs/tags/one\nrefs/tags/z');
  assert.deepEqual(tornRefs(repositories, tool), []);
});

test('threat 87: if several pushes restore a lost HEAD at the same time, all succeed, and no temporary file is left', async () => {
  await rm(join(folder, 'HEAD'));
  await Promise.all(Array.from({ length: 20 }, () => makeHead(folder, 'main')));
  assert.equal(await readFile(join(folder, 'HEAD'), 'utf8'), 'ref: refs/heads/main\n');
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.endsWith('.new')),
    [],
  );
});

test('threat 87: a start of the server removes temporary files that a killed server left in a repository', async () => {
  const drafts = ['HEAD.new', 'HEAD.0e7a.new', 'config.0e7a.new', 'packed-refs.0e7a.new', 'shallow.0e7a.new'];
  for (const name of drafts) await writeFile(join(folder, name), '');
  await cleanUpRepositories(repositories, new SetAside(root));
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.endsWith('.new')),
    [],
  );
});
