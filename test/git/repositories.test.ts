import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { execa } from 'execa';
import { SetAside } from '../../src/core/disk/set-aside.ts';
import { commitId } from '../../src/core/names.ts';
import { copyCommit } from '../../src/deploy/promotion.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { cleanUpRepositories } from '../../src/git/repository-clean-up.ts';
import { measureRepository } from '../../src/git/repository-size.ts';
import { nameOf, wikibot } from '../support/store-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'repositories-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('if a repository cannot be created, the failed attempt leaves no files', async () => {
  // This fake git behaves as git does when the disk becomes full.
  const git =
    '#!/bin/sh\nfor last; do :; done\nmkdir "$last"\necho "No space left on device" >&2\nexit 128\n';
  writeFileSync(join(folder, 'git'), git, { mode: 0o755 });
  const root = join(folder, 'root');
  const path = `${folder}:${process.env['PATH'] ?? ''}`;
  const repositories = new Repositories({ folder: root, path, deployBranch: 'main' });
  await assert.rejects(repositories.ensure(wikibot), /No space left/);
  assert.deepEqual(readdirSync(root), []);
});

test('threat 35: git commands that walk objects have limits of memory and processor time, and if memory is short, the kernel kills them before the server', async () => {
  const told = join(folder, 'told');
  mkdirSync(told);
  const git = '#!/bin/sh\nsleep 0.3\necho "$(ulimit -d) $(ulimit -t) $(cat /proc/self/oom_score_adj)"\n';
  writeFileSync(join(told, 'git'), git, { mode: 0o755 });
  const root = join(folder, 'limited');
  mkdirSync(join(root, 'wikibot.git'), { recursive: true });
  const path = `${told}:${process.env['PATH'] ?? ''}`;
  const repositories = new Repositories({ folder: root, path, deployBranch: 'main' });
  for (const command of ['gc', 'prune', 'merge-base', 'log', 'read-tree', 'fetch'])
    assert.equal(await repositories.git(wikibot, [command]), '327680 300 600', command);
  assert.match(await repositories.git(wikibot, ['for-each-ref']), /^unlimited unlimited /);
});

test('threat 243: clean-ups and copies of commits have a low priority, and so do the programs that git starts for them', async () => {
  const tools = join(folder, 'low-bin');
  mkdirSync(tools);
  const said = join(folder, 'low-said');
  // This fake git writes down the priority with which the server or another git starts it, and then runs the real git.
  const git = `#!/bin/sh\nPATH=\${PATH#'${tools}':}\necho "$(nice) $*" >>'${said}'\nexec git "$@"\n`;
  writeFileSync(join(tools, 'git'), git, { mode: 0o755 });
  const path = `${tools}:${process.env['PATH'] ?? ''}`;
  const repositories = new Repositories({ folder: join(folder, 'low'), path, deployBranch: 'main' });
  await repositories.ensure(wikibot);
  const tree = await repositories.git(wikibot, ['mktree'], { input: '' });
  const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
  const commit = commitId(await repositories.git(wikibot, [...who, 'commit-tree', '-m', 'x', tree]));
  assert.ok(commit !== null);
  const { signal } = new AbortController();
  await copyCommit(
    repositories,
    { tool: wikibot, commit },
    { tool: nameOf('fix--wikibot'), id: 'd1', signal },
  );
  await repositories.git(wikibot, ['gc', '--quiet']);
  await repositories.git(wikibot, ['prune', '--expire=now']);
  const priorities = readFileSync(said, 'utf8').trim().split('\n');
  const of = (command: string) =>
    [...new Set(priorities.filter((line) => line.split(' ').includes(command)))].map(Number.parseFloat);
  const usual = Number((await execa('nice')).stdout);
  const low = Math.min(19, usual + 15);
  assert.deepEqual([of('mktree'), of('commit-tree')], [[usual], [usual]]);
  for (const command of ['fetch', 'upload-pack', 'gc', 'prune']) assert.equal(of(command)[0], low, command);
});

test('threat 87: a start of the server removes half-made repositories, but no other folders beside them', async () => {
  const root = join(folder, 'beside');
  const path = process.env['PATH'] ?? '';
  const repositories = new Repositories({ folder: root, path, deployBranch: 'main' });
  for (const name of ['wikibot.git.17.0abc9.new', 'wikibot.git.new'])
    mkdirSync(join(root, name), { recursive: true });
  await cleanUpRepositories(repositories, new SetAside(folder));
  assert.deepEqual(readdirSync(root), ['wikibot.git.new']);
});

test('threat 35: git packs the objects of a clone with low priority, so that the server and the tools get the processor first', async () => {
  const root = join(folder, 'nice');
  const tools = join(folder, 'nice-bin');
  mkdirSync(tools);
  const said = join(folder, 'nice-said');
  writeFileSync(join(tools, 'nice'), `#!/bin/sh\nprintf '%s ' "$@" >>'${said}'\nexec /usr/bin/nice "$@"\n`, {
    mode: 0o755,
  });
  const path = `${tools}:${process.env['PATH'] ?? ''}`;
  const repositories = new Repositories({ folder: root, path, deployBranch: 'main' });
  const from = await repositories.ensure(wikibot);
  const tree = await repositories.git(wikibot, ['mktree'], { input: '' });
  const identity = {
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a',
  };
  const commit = await repositories.git(wikibot, ['commit-tree', tree, '-m', 'x'], { more: identity });
  await repositories.git(wikibot, ['update-ref', 'refs/heads/main', commit]);
  const env = repositories.environment();
  // `git clone` passes no git settings from its environment to the upload-pack that it starts. The server passes them to
  // its upload-pack, so this test does, too.
  const settings = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
  await execa(
    'git',
    [
      'clone',
      '--quiet',
      '--bare',
      '--no-local',
      `--upload-pack=env ${settings.join(' ')} git upload-pack`,
      from,
      join(folder, 'nice-clone'),
    ],
    {
      env,
      extendEnv: false,
    },
  );
  assert.match(readFileSync(said, 'utf8'), /^-n 15 git pack-objects /);
});

test('the server’s git runs no hook that lies in a repository, because a hostile backup can bring such a hook', async () => {
  const [root, ran] = [join(folder, 'hooked'), join(folder, 'ran')];
  const repositories = new Repositories({
    folder: root,
    path: process.env['PATH'] ?? '',
    deployBranch: 'main',
  });
  const hooks = join(await repositories.ensure(wikibot), 'hooks');
  mkdirSync(hooks);
  writeFileSync(join(hooks, 'reference-transaction'), `#!/bin/sh\necho >>'${ran}'\n`, { mode: 0o755 });
  const blob = await repositories.git(wikibot, ['hash-object', '-w', '--stdin'], { input: 'x' });
  const create = { input: `create refs/tags/one ${blob}\n` };
  await repositories.git(wikibot, ['update-ref', '--stdin'], create);
  assert(!existsSync(ran));
  await repositories.git(wikibot, ['update-ref', '-d', 'refs/tags/one'], {
    settings: [['core.hooksPath', hooks]],
  });
  assert(existsSync(ran));
});

test('the size of a repository counts all of its stored objects, even while pushes make and delete temporary folders in it', async () => {
  const repositories = new Repositories({
    folder: join(folder, 'size'),
    path: process.env['PATH'] ?? '',
    deployBranch: 'main',
  });
  const objects = join(await repositories.ensure(wikibot), 'objects');
  for (const [path, bytes] of [
    ['pack/pack-1.pack', 5000],
    ['pack/pack-1.idx', 1],
    ['ab/cd', 4096],
  ] as const) {
    mkdirSync(join(objects, dirname(path)), { recursive: true });
    writeFileSync(join(objects, path), 'x'.repeat(bytes));
  }
  const isOver = new AbortController();
  const pushes = async () => {
    for (const path = join(objects, 'tmp_objdir-incoming-1/pack'); !isOver.signal.aborted; ) {
      mkdirSync(path, { recursive: true });
      await setImmediate();
      rmSync(dirname(path), { recursive: true });
      await setImmediate();
    }
  };
  const pushing = pushes();
  for (let count = 0; count < 200; count += 1)
    assert.deepEqual(await measureRepository(repositories, wikibot), {
      bytes: 16_384,
      tags: 0,
      parked: 0,
      packs: 1,
      counted: 3,
    });
  isOver.abort();
  await pushing;
});
