import assert from 'node:assert/strict';
import { lstat, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { readLayers } from '../../src/builder/buildpack-api/layers.ts';
import { copyFiles, protectFiles, sweepFolder } from '../../src/builder/folders.ts';
import { removeTree } from '../../src/core/disk/remove-tree.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'layer-names-'));
});
after(() => rm(root, { recursive: true, force: true }));

for (const file of ['...toml', '..toml', '.toml']) {
  test(`threat 66: a file ${file} among the layers fails the build, because its layer would have an empty name or the name . or ..`, async () => {
    const folder = await mkdtemp(join(root, 'layers-'));
    await mkdir(join(folder, 'test_x'));
    await writeFile(join(folder, 'test_x', file), '[types]\nlaunch = true\n');
    await assert.rejects(readLayers(folder, 'test/x'), { code: 'BUILD_FAILED' });
  });
}

test('threat 82: a folder tree deeper than the longest path that Linux accepts is removed', async () => {
  const folder = await mkdtemp(join(root, 'deep-'));
  const script = 'import os\nfor i in range(60):\n    os.mkdir("x" * 100); os.chdir("x" * 100)';
  await execa('python3', ['-c', script], { cwd: folder });
  await removeTree(folder);
  await assert.rejects(stat(folder), { code: 'ENOENT' });
});

test('threat 65: the server removes pipes from an artifact and makes its files read-only, even in folders deeper than the longest path that Linux accepts', async () => {
  const folder = await mkdtemp(join(root, 'deep-'));
  const script = `import os
for i in range(60):
    os.mkdir("x" * 100); os.chdir("x" * 100)
os.mkfifo("pipe")
os.close(os.open("plain", os.O_CREAT, 0o666))`;
  await execa('python3', ['-c', script], { cwd: folder });
  await sweepFolder(folder);
  await protectFiles(folder);
  const left = await execa('find', [folder, '!', '-type', 'd', '-printf', '%f %m\n']);
  assert.match(left.stdout, /^plain 4[04]4$/);
  await removeTree(folder);
});

test('threat 88: the removal of a folder of 40,000 files needs less than 32 MiB of additional memory', async () => {
  const folder = await mkdtemp(join(root, 'many-'));
  const script = 'for i in range(40000): open(str(i), "w").close()';
  await execa('python3', ['-c', script], { cwd: folder });
  const before = process.resourceUsage().maxRSS;
  await removeTree(folder);
  const grownKilobytes = process.resourceUsage().maxRSS - before;
  assert.ok(grownKilobytes < 32 * 1024, `${grownKilobytes} kB`);
});

test('a link in place of a folder is removed, and the target of the link stays', async () => {
  const kept = await mkdtemp(join(root, 'kept-'));
  const link = join(root, 'link');
  await symlink(kept, link);
  await removeTree(link);
  assert.ok((await stat(kept)).isDirectory());
  await assert.rejects(lstat(link), { code: 'ENOENT' });
});

test('threat 173: the server starts few programs to make the files of 8,000 folders read-only, even if one path is too long for chmod', async () => {
  const folder = await mkdtemp(join(root, 'wide-'));
  const script = `import os
for i in range(8000):
    os.mkdir(str(i)); open(f"{i}/plain", "w").close()
for i in range(60):
    os.mkdir("x" * 100); os.chdir("x" * 100)
open("plain", "w").close()`;
  await execa('python3', ['-c', script], { cwd: folder });
  const startedAt = performance.now();
  await protectFiles(folder);
  const tookMs = performance.now() - startedAt;
  const left = await execa('find', [folder, '-type', 'f', '-perm', '/222']);
  assert.equal(left.stdout, '');
  const shallow = await execa('find', [folder, '-maxdepth', '1', '!', '-perm', '-200']);
  assert.equal(shallow.stdout, '');
  // With a chmod in each folder, it would take ten seconds or more.
  assert.ok(tookMs < 4000, `${tookMs} ms`);
  await removeTree(folder);
});

test('threat 171: the copy of a folder fails with a clear error if it has too many hard links at long paths, because cp would need too much memory', async () => {
  const folder = await mkdtemp(join(root, 'links-'));
  const script = `import os
os.makedirs("from/" + "/".join(["x" * 200] * 15)); os.chdir("from/" + "/".join(["x" * 200] * 15))
for i in range(4000):
    open(str(i), "w").close(); os.link(str(i), f"{i}b")`;
  await execa('python3', ['-c', script], { cwd: folder });
  const copy = (to: string, mostKib?: number) =>
    copyFiles([join(folder, 'from')], join(folder, to), undefined, mostKib);
  await assert.rejects(copy('first', 12 * 1024), { code: 'BUILD_FAILED', message: /too many hard links/ });
  await copy('second');
});
