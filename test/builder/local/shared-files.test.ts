import assert from 'node:assert/strict';
import {
  chmod,
  chown,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { SharedFiles, saysSame, sharingBudget } from '../../../src/builder/local/shared-files.ts';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';

/** A data folder with layers. */
class Data implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Data> {
    return new Data(await mkdtemp(join(tmpdir(), 'shared-')));
  }

  /** Makes a layer whose files all have the same time. */
  async layer(name: string, files: Readonly<Record<string, string>>): Promise<string> {
    const layer = join(this.folder, name);
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(layer, path, '..'), { recursive: true });
      await writeFile(join(layer, path), text);
      await utimes(join(layer, path), 1000, 1000);
      if (path.startsWith('bin/')) await chmod(join(layer, path), 0o755);
    }
    return layer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** What `share` gets for the first build of the tool with the number 1. */
const first = {
  toolNumber: 1,
  earlier: null,
  signal: new AbortController().signal,
  get budget() {
    return sharingBudget();
  },
};

const inode = async (...path: string[]) => (await stat(join(...path))).ino;

test('equal files of two layers are one file on the disk, which nobody may write', async () => {
  await using data = await Data.make();
  const shared = new SharedFiles(data.folder);
  const files = { 'bin/python': 'program', 'lib/os.py': 'module', 'lib/empty.py': '' };
  const one = await data.layer('one', files);
  const other = await data.layer('other', { ...files, 'lib/own.py': 'module of one tool' });
  await symlink('python', join(other, 'bin/python3'));
  await shared.share(one, first);
  await shared.share(other, first);
  for (const path of Object.keys(files)) assert.equal(await inode(one, path), await inode(other, path), path);
  assert.equal((await stat(join(other, 'bin/python'))).mode & 0o777, 0o555);
  assert.equal((await stat(join(other, 'lib/os.py'))).mode & 0o777, 0o444);
  assert.equal(await readFile(join(other, 'bin/python3'), 'utf8'), 'program');
  assert.equal((await stat(join(other, 'lib/os.py'))).mtimeMs, 1_000_000);
});

test('threat 39: a shared copy of a file belongs to the server, not to the tool that had the file first', {
  skip: process.getuid?.() !== 0,
}, async () => {
  await using data = await Data.make();
  const layer = await data.layer('one', { file: 'text' });
  await chown(join(layer, 'file'), 710_001, 710_001);
  const shared = new SharedFiles(data.folder);
  await shared.share(layer, first);
  const owner = async () => {
    const { uid, gid, nlink } = await stat(join(layer, 'file'));
    return [uid, gid, nlink];
  };
  assert.deepEqual(await owner(), [0, 0, 2]);
  // Earlier versions of the server left the tool as the owner of the shared copy.
  await chown(join(layer, 'file'), 710_001, 710_001);
  await shared.sweep();
  assert.deepEqual(await owner(), [0, 0, 2]);
});

test('files of two layers that differ in content, time or the right to run stay two files', async () => {
  await using data = await Data.make();
  const shared = new SharedFiles(data.folder);
  const one = await data.layer('one', { a: 'text', b: 'text', c: 'text' });
  const other = await data.layer('other', { a: 'TEXT', b: 'text', c: 'text' });
  await utimes(join(other, 'b'), 2000, 2000);
  await chmod(join(other, 'c'), 0o755);
  await shared.share(one, first);
  await shared.share(other, first);
  for (const path of ['a', 'b', 'c']) assert.notEqual(await inode(one, path), await inode(other, path), path);
  assert.equal(await readFile(join(other, 'a'), 'utf8'), 'TEXT');
});

test('the next build of a tool shares its unchanged files with the last build', async () => {
  await using data = await Data.make();
  const shared = new SharedFiles(data.folder);
  const before = await data.layer('before', { a: 'text', b: 'old' });
  await shared.share(before, first);
  const after = await data.layer('after', { a: 'text', b: 'new text' });
  await chmod(join(after, 'a'), 0o444);
  await shared.share(after, { ...first, earlier: before });
  assert.equal(await inode(after, 'a'), await inode(before, 'a'));
  assert.equal(await readFile(join(after, 'b'), 'utf8'), 'new text');
  assert.equal(await readFile(join(before, 'b'), 'utf8'), 'old');
});

test('threat 40: a layer counts as unchanged only if its metadata is equal to the metadata of the last build’s layer and has a key besides `shared`', () => {
  assert.ok(saysSame({ shared: true, version: '3.12.1' }, { version: '3.12.1', shared: true }));
  assert.ok(!saysSame({ shared: true, version: '3.12.2' }, { shared: true, version: '3.12.1' }));
  assert.ok(!saysSame({ shared: true }, { shared: true }));
});

test('shared files that no artifact has any more are removed', async () => {
  await using data = await Data.make();
  const shared = new SharedFiles(data.folder);
  const one = await data.layer('one', { a: '1', b: '2' });
  const other = await data.layer('other', { a: '1' });
  await shared.share(one, first);
  await shared.share(other, first);
  await rm(one, { recursive: true });
  await shared.sweep();
  assert.equal((await readdir(join(data.folder, 'shared'))).length, 1);
  await rm(other, { recursive: true });
  await shared.sweep();
  assert.deepEqual(await readdir(join(data.folder, 'shared')), []);
});

test('threat 60: a file of 3 GiB and a layer of 20,001 files are not shared, so that no build fills the folder of shared files', async () => {
  await using data = await Data.make();
  const shared = new SharedFiles(data.folder);
  const one = await data.layer('one', { small: 'text', large: '' });
  await truncate(join(one, 'large'), 3 * 1024 ** 3);
  await shared.share(one, first);
  assert.equal((await stat(join(one, 'large'))).nlink, 1);
  assert.equal((await stat(join(one, 'small'))).nlink, 2);
  const many = Array.from({ length: 20_001 }, (_, index) => [`f${index}`, `${index}`]);
  await shared.share(await data.layer('many', Object.fromEntries(many)), first);
  assert.equal((await readdir(join(data.folder, 'shared'))).length, 1);
});

test('threat 60: files with holes are not shared, because their copies would fill the disk', async () => {
  await using data = await Data.make();
  const layer = await data.layer('holes', { small: 'text', sparse: '' });
  await truncate(join(layer, 'sparse'), 60 * 1024 ** 2);
  await new SharedFiles(data.folder).share(layer, first);
  assert.equal((await stat(join(layer, 'sparse'))).nlink, 1);
  assert.equal((await stat(join(layer, 'small'))).nlink, 2);
});

test('threat 60: of all layers of a build together, at most 20,000 files and 1 GiB become shared files, and none after the build has ended', async () => {
  await using data = await Data.make();
  const shared = new SharedFiles(data.folder);
  const budget = { entries: 3, bytes: 10, copies: null };
  for (const [name, files, isShared] of [
    ['one', { a: 'eight...' }, true],
    ['two', { b: 'seven..' }, false],
    ['three', { c: 'x', d: 'y' }, false],
  ] as const) {
    const layer = await data.layer(name, files);
    await shared.share(layer, { ...first, budget });
    const [file = ''] = Object.keys(files);
    assert.equal((await stat(join(layer, file))).nlink === 2, isShared, name);
  }
  assert.deepEqual(sharingBudget(), { entries: 20_000, bytes: 1024 ** 3, copies: null });
  const layer = await data.layer('late', { e: 'text' });
  const ended = { ...first, signal: AbortSignal.abort(new Error('the build has ended')) };
  await assert.rejects(shared.share(layer, ended), /the build has ended/);
  assert.equal((await stat(join(layer, 'e'))).nlink, 1);
});

test('threat 60: if one tool has filled the folder of shared files, a new file of another tool takes the place of one of this tool’s files', async () => {
  await using data = await Data.make();
  const shared = new SharedFiles(data.folder, 12);
  const filesOf = (name: string, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, `${name} ${index}`]));
  const linksOf = async (layer: string, files: object) =>
    Promise.all(Object.keys(files).map(async (name) => (await stat(join(layer, name))).nlink));
  const greedy = await data.layer('greedy', filesOf('greedy', 20));
  await shared.share(greedy, first);
  const files = filesOf('python', 4);
  const one = await data.layer('one', files);
  await shared.share(one, { ...first, toolNumber: 2 });
  const other = await data.layer('other', files);
  await shared.share(other, { ...first, toolNumber: 3 });
  assert.deepEqual(await linksOf(other, files), [3, 3, 3, 3]);
  await shared.share(await data.layer('more', filesOf('more', 20)), first);
  assert.deepEqual(await linksOf(one, files), [3, 3, 3, 3]);
  assert.equal((await readdir(join(data.folder, 'shared'))).length, 12);
  assert.equal(await readFile(join(greedy, 'f7'), 'utf8'), 'greedy 7');
});

test('threat 39: a link in the earlier layer of a tool does not give the tool a file of another tool', async () => {
  await using data = await Data.make();
  const victim = await data.layer('victim', { 'lib/secret': 'secret of victim' });
  await link(join(victim, 'lib/secret'), join(victim, 'lib/second'));
  const before = await data.layer('before', {});
  await mkdir(before);
  await symlink(join(victim, 'lib'), join(before, 'lib'));
  const after = await data.layer('after', { 'lib/secret': 'sixteen letters!' });
  const linked = join(data.folder, 'linked');
  await symlink(victim, linked);
  for (const earlier of [before, linked]) {
    await new SharedFiles(data.folder).share(after, { ...first, earlier });
    assert.equal(await readFile(join(after, 'lib/secret'), 'utf8'), 'sixteen letters!');
    assert.notEqual(await inode(after, 'lib/secret'), await inode(victim, 'lib/secret'));
  }
});

test('threat 88: sharing a layer with 30,000 files and long paths takes less than 48 MiB of additional memory of the server', async () => {
  await using data = await Data.make();
  const script = `import os
os.mkdir('deep'); os.chdir('deep')
for i in range(14): os.mkdir('x' * 240); os.chdir('x' * 240)
for i in range(30000): os.close(os.open(str(i), os.O_CREAT))`;
  await execa('python3', ['-c', script], { cwd: data.folder });
  const before = process.resourceUsage().maxRSS;
  await new SharedFiles(data.folder).share(join(data.folder, 'deep'), first);
  const grownKilobytes = process.resourceUsage().maxRSS - before;
  assert.ok(grownKilobytes < 48 * 1024, `${grownKilobytes} kB`);
});

test('files whose names are not UTF-8 and files with very long paths do not stop the sharing of other files', async () => {
  await using data = await Data.make();
  const layer = await data.layer('layer', { a: 'text' });
  const script = `import os
open(b'\\xff', 'w').close()
for i in range(60): os.mkdir('x' * 100); os.chdir('x' * 100)
open('deep', 'w').close()`;
  await execa('python3', ['-c', script], { cwd: layer });
  await new SharedFiles(data.folder).share(layer, first);
  assert.equal((await stat(join(layer, 'a'))).nlink, 2);
  await removeTree(layer);
});
