import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstat, mkdtemp, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';

let folder: string;
let path: string;
let file: DirectoryFile;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'by-hand-'));
});
after(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  path = join(folder, 'directory.yaml');
  await writeFile(path, 'users:\n  alice: {}\ntools: {}\n');
  file = new DirectoryFile(path);
});

test('a change of one tool in directory.yaml keeps the maintainers that a YAML alias names, and changes no other tool', async () => {
  await writeFile(
    path,
    'users: { alice: {}, bob: {}, carol: &c { keys: [] }, dave: *c }\ntools:\n  one: { maintainers: &team [alice, carol] } # the team\n  two: { maintainers: *team }\n',
  );
  const maintainers = async () =>
    Object.fromEntries(
      [...(await file.list()).tools.values()].map((tool) => [tool.name, [...tool.maintainers]]),
    );
  await file.addTool('two', ['bob']);
  assert.deepEqual(await maintainers(), { one: ['alice', 'carol'], two: ['alice', 'carol', 'bob'] });
  await file.addTool('one', ['dave']);
  await file.removeUser('carol');
  assert.deepEqual(await maintainers(), { one: ['alice', 'dave'], two: ['alice', 'bob'] });
  assert.match(await readFile(path, 'utf8'), /# the team/);
});

test('user names that look like numbers (007, 1e3) stay as they are written in directory.yaml, also after a change', async () => {
  await writeFile(
    path,
    'users:\n  007: {}\n  0x1f: {}\n  1e3: {}\ntools:\n  hello: { maintainers: [007] }\n',
  );
  await file.addUser({ name: '010', password: 'open sesame' });
  await file.addTool('hello', ['1e3']);
  const { users, tools } = await file.list();
  assert.deepEqual([...users.keys()], ['007', '0x1f', '1e3', '010']);
  assert.deepEqual(
    [...tools.values()].flatMap((tool) => [...tool.maintainers]),
    ['007', '1e3'],
  );
});

for (const [what, text, expected] of [
  [
    'an alias without an anchor',
    'users:\n  alice: {}\ntools:\n  hello: { maintainers: *team }\n',
    /line 4: .*&team/,
  ],
  [
    'aliases of aliases, which together stand for millions of values,',
    `users:\n  alice: {}\nx: ${'abcdefgh'.replaceAll(/./g, (name, at) => `${at === 0 ? '[' : ','} &${name} [${`*${'abcdefgh'[at - 1] ?? 'z'},`.repeat(9)}]`).replace(/\*z,/g, '1,')}]\n`,
    /error in line/,
  ],
] as const) {
  test(`a directory.yaml with ${what} is reported as broken`, async () => {
    await writeFile(path, text);
    const isTold = { code: 'DIRECTORY_BROKEN', message: expected };
    await assert.rejects(file.list(), isTold);
    await assert.rejects(file.addTool('hello', ['alice']), isTold);
  });
}

test('an edit of a directory.yaml that is a symbolic link changes the file behind the link, and the link stays', async () => {
  const real = join(folder, 'real.yaml');
  await rename(path, real);
  await symlink(real, path);
  await file.addTool('hello', ['alice']);
  assert.ok((await lstat(path)).isSymbolicLink());
  assert.match(await readFile(real, 'utf8'), /hello/);
  await rm(path);
  await rm(real);
});

test('if the disk is full, an edit of directory.yaml fails with ENOSPC and leaves no temporary file', {
  skip: process.getuid?.() !== 0,
}, async () => {
  const small = await mkdtemp(join(tmpdir(), 'small-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'small', small]);
  try {
    const where = join(small, 'directory.yaml');
    await writeFile(where, `users:\n  alice: {}\n# ${'x'.repeat(40_000)}\n`);
    await assert.rejects(new DirectoryFile(where).addTool('hello', ['alice']), {
      code: 'DIRECTORY_FILE',
      message: /ENOSPC/,
    });
    assert.deepEqual(await readdir(small), ['directory.yaml']);
  } finally {
    execFileSync('umount', [small]);
    await rm(small, { recursive: true });
  }
});

test('an edit of directory.yaml ignores a lock file that is two minutes old, even if the process number in the file is in use; a new lock file stops the edit', async () => {
  const lock = `${path}.lock`;
  await writeFile(lock, '1\n');
  await assert.rejects(file.addTool('hello', ['alice']), { code: 'FILE_BUSY' });
  await utimes(lock, new Date(), new Date(Date.now() - 2 * 60_000));
  await file.addTool('hello', ['alice']);
  assert.deepEqual(await readdir(folder), ['directory.yaml']);
});
