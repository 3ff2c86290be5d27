import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { execa } from 'execa';
import { timely } from '../../../src/git/archive/timely.ts';
import { ArchivePlace, gnuTar, pythonTar, pythonTars } from './archives.ts';
import { longHeader, pax, paxRecord, ustarHeader } from './headers.ts';

const place = new ArchivePlace();
after(() => place[Symbol.dispose]());

const newFolder = () => mkdtempSync(join(place.folder, 'work-'));

/** A folder with every kind of file that git stores, and odd names. */
function oddFolder(): string {
  const folder = newFolder();
  const long = 'ü'.repeat(100);
  mkdirSync(join(folder, long, 'deep', 'x'.repeat(200)), { recursive: true });
  mkdirSync(join(folder, 'empty folder'));
  const files = {
    'app.py': 'print("hello")\n',
    'no content': '',
    [`${long}/deep/${'x'.repeat(200)}/日本語 "quoted" \\ name`]: 'odd',
    'ends in space ': ' ',
    '.gitignore': '*.pyc\n',
    '.github-settings': 'a',
    'large.bin': 'large'.repeat(300_000),
  };
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
  writeFileSync(join(folder, 'run.sh'), '#!/bin/sh\n');
  chmodSync(join(folder, 'run.sh'), 0o4755);
  symlinkSync('app.py', join(folder, 'link'));
  symlinkSync('../../app.py', join(folder, long, 'deep', 'link'));
  symlinkSync('nowhere', join(folder, 'broken link'));
  linkSync(join(folder, 'app.py'), join(folder, 'z hard link'));
  return folder;
}

/** The tree that git itself makes of a folder. */
async function treeOfGit(folder: string): Promise<string> {
  const env = {
    GIT_DIR: join(newFolder(), 'own.git'),
    GIT_WORK_TREE: folder,
    GIT_CONFIG_GLOBAL: '/dev/null',
  };
  const git = async (...args: string[]) =>
    (await execa('git', args, { cwd: folder, env, stdin: 'ignore' })).stdout;
  await git('init', '--quiet');
  await git('add', '--all', '--force', '.');
  return await git('write-tree');
}

describe('archives', { concurrency: 2 }, () => {
  test('an archive of GNU tar, in the gnu or posix format, plain or compressed, becomes the tree that git makes of the same folder', async () => {
    const folder = oddFolder();
    const wanted = await treeOfGit(folder);
    const tars = await Promise.all([
      gnuTar(folder, '--format=gnu', '.'),
      gnuTar(folder, '--format=posix', '.'),
      gnuTar(folder, '--format=gnu', '--gzip', '.'),
      gnuTar(folder, '--format=posix', '--hard-dereference', '.').then((tar) => zstdCompressSync(tar)),
    ]);
    for (const tar of tars) assert.equal((await place.commit(tar)).tree, wanted);
  });

  test('a tar that Python’s tarfile writes becomes the tree that git makes of the same folder', async () => {
    const folder = oddFolder();
    const wanted = await treeOfGit(folder);
    const tars = await pythonTars(
      ['PAX_FORMAT', 'GNU_FORMAT'].map(
        (format) => `t.format = tarfile.${format}\nt.add(${JSON.stringify(folder)}, '.')`,
      ),
    );
    for (const tar of tars) assert.equal((await place.commit(tar)).tree, wanted);
  });

  test('threat 98: the server leaves paths with .git out of an archive, in any letter case and in spellings that macOS or Windows take for .git', async () => {
    const names = ['.git/config', '.GIT/x', 'a/.Git/x', 'a/.git', '.git /x', '.git.../x', 'git~1/x', 'GIT~1'];
    const tricks = ['.g\u200cit/x', '.git::$INDEX_ALLOCATION/x', 'a\\.git\\x', '.git\\x', '.git:x'];
    const code = [...names, ...tricks].map((name) => `f(${JSON.stringify(name)})`).join('\n');
    const { files } = await place.commit(
      await pythonTar(`${code}\nf('.gitignore')\nf('.gitx/y')\nf('a/digit')\nl('a/.git', 'x')`),
    );
    assert.deepEqual(files, ['100644 .gitignore', '100644 .gitx/y', '100644 a/digit']);
  });

  test('files of an archive lose their set-user and set-group bits; of two entries with the same path, the later one counts', async () => {
    const { tree, files } = await place.commit(
      await pythonTar("f('a', b'one', mode=0o6644)\nf('./b//c', mode=0o6710)\nf('a', b'two')"),
    );
    assert.deepEqual(files, ['100644 a', '100755 b/c']);
    assert.equal(await place.content(tree, 'a'), 'two');
  });

  const refusals: readonly { title: string; code: string; python: string }[] = [
    { title: 'a path with ..', code: 'BAD_ARCHIVE', python: "f('../x')" },
    { title: 'a path with .. behind a folder', code: 'BAD_ARCHIVE', python: "f('a/../../x')" },
    { title: 'an absolute path', code: 'BAD_ARCHIVE', python: "f('/etc/x')" },
    { title: 'a folder with ..', code: 'BAD_ARCHIVE', python: "f('../a', b'', type=tarfile.DIRTYPE)" },
    { title: 'a link to an absolute path', code: 'BAD_ARCHIVE', python: "l('a', '/etc/passwd')" },
    { title: 'a link that leaves the folder', code: 'BAD_ARCHIVE', python: "l('a/b', '../../x')" },
    {
      title: 'a link that leaves the folder through another link',
      code: 'BAD_ARCHIVE',
      python: "l('a/s', '..')\nl('a/t', 's/..')",
    },
    { title: 'a file through a link', code: 'BAD_ARCHIVE', python: "l('a', 'b')\nf('a/x')" },
    { title: 'a link in the place of a folder', code: 'BAD_ARCHIVE', python: "f('a/x')\nl('a', 'b')" },
    { title: 'a path that is a file and a folder', code: 'BAD_ARCHIVE', python: "f('a')\nf('a/b/c')" },
    { title: 'a path that is a folder and a file', code: 'BAD_ARCHIVE', python: "f('a/b/c')\nf('a/b')" },
    {
      title: 'a hard link to a file outside',
      code: 'BAD_ARCHIVE',
      python: "l('a', '/etc/passwd', tarfile.LNKTYPE)",
    },
    { title: 'a hard link to a missing file', code: 'BAD_ARCHIVE', python: "l('a', 'b', tarfile.LNKTYPE)" },
    {
      title: 'a hard link to .git',
      code: 'BAD_ARCHIVE',
      python: "f('.git/a')\nl('a', '.git/a', tarfile.LNKTYPE)",
    },
    {
      title: 'a hard link to a link, which leaves the folder from its new place',
      code: 'BAD_ARCHIVE',
      python: "l('a/b', '../x')\nl('c', 'a/b', tarfile.LNKTYPE)",
    },
    { title: 'a character device', code: 'BAD_ARCHIVE', python: "f('a', b'', type=tarfile.CHRTYPE)" },
    { title: 'a block device', code: 'BAD_ARCHIVE', python: "f('a', b'', type=tarfile.BLKTYPE)" },
    { title: 'a pipe', code: 'BAD_ARCHIVE', python: "f('a', b'', type=tarfile.FIFOTYPE)" },
    { title: 'an entry of an unknown kind', code: 'BAD_ARCHIVE', python: "f('a', b'', type=b'Z')" },
    {
      title: 'a name that is not UTF-8',
      code: 'BAD_ARCHIVE',
      python: "f(b'\\xff'.decode('utf-8', 'surrogateescape'))",
    },
    { title: 'a name of 256 bytes', code: 'PATH_TOO_LONG', python: "f('a' * 256)" },
    { title: 'a path of 1200 bytes', code: 'PATH_TOO_LONG', python: "f('abcde/' * 200 + 'x')" },
    { title: 'no files but folders', code: 'EMPTY_ARCHIVE', python: "f('a', b'', type=tarfile.DIRTYPE)" },
    { title: 'nothing but .git', code: 'EMPTY_ARCHIVE', python: "f('.git/a')" },
    { title: 'no entries', code: 'EMPTY_ARCHIVE', python: 'pass' },
    { title: 'more files than the limit', code: 'TREE_TOO_LARGE', python: 'for n in range(1001): f(str(n))' },
    {
      title: 'more folders than the limit',
      code: 'TREE_TOO_LARGE',
      python: "for n in range(3): f(f'{n}/' + 'a/' * 400 + 'x')",
    },
    {
      title: 'more entries than the limit, all left out',
      code: 'TREE_TOO_LARGE',
      python: "for n in range(4001): f(f'.git/{n}')",
    },
    {
      title: 'more bytes than the limit',
      code: 'TREE_TOO_LARGE',
      python: 'for n in range(5): f(str(n), bytes(2 ** 20))',
    },
    {
      title: 'one file twice, with more bytes than the limit',
      code: 'TREE_TOO_LARGE',
      python: "for n in range(5): f('a', bytes(2 ** 20))",
    },
    {
      title: 'a header that names more bytes than the limit',
      code: 'TREE_TOO_LARGE',
      python: "i = tarfile.TarInfo('a'); i.size = 2 ** 40; t.addfile(i)",
    },
  ];
  const refused = pythonTars(
    refusals.map(({ code, python }) => (code === 'EMPTY_ARCHIVE' ? python : `f('first')\n${python}`)),
  );
  for (const [index, { title, code }] of refusals.entries()) {
    const threat = { BAD_ARCHIVE: 'threat 95: ', TREE_TOO_LARGE: 'threat 96: ' }[code] ?? '';
    test(`${threat}an archive is refused if it has ${title}`, async () => {
      const tar = (await refused)[index] ?? assert.fail();
      await assert.rejects(place.commit(tar), { code });
    });
  }

  test('threat 95: an archive with a sparse file, as GNU tar writes it, is refused, because the content of the file would be wrong', async () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'holes'), 'begin');
    truncateSync(join(folder, 'holes'), 1024 ** 2);
    for (const format of ['gnu', 'posix']) {
      const tar = await gnuTar(folder, `--format=${format}`, '--sparse', '.');
      assert.ok(tar.length < 100_000, 'GNU tar made no sparse file');
      await assert.rejects(place.commit(tar), { code: 'BAD_ARCHIVE' }, format);
    }
  });

  test('threat 97: an archive that is cut off is refused, whether the cut is between two files, in a file or in the gzip data', async () => {
    const whole = await pythonTar("f('a', bytes(2048))\nf('b' * 200, b'x')\nf('c')");
    assert.equal((await place.commit(whole)).files.length, 3);
    const ends = Array.from({ length: whole.length / 512 }, (_, index) => index * 512);
    const end = whole.findLastIndex((byte) => byte !== 0) + 1;
    for (const at of ends.filter((offset) => offset < end + 1024))
      await assert.rejects(place.commit(whole.subarray(0, at)), { code: 'NOT_AN_ARCHIVE' }, `cut at ${at}`);
    await assert.rejects(place.commit(whole.subarray(0, 700)), { code: 'NOT_AN_ARCHIVE' });
    const gzipped = gzipSync(whole);
    await assert.rejects(place.commit(gzipped.subarray(0, gzipped.length - 20)), { code: 'NOT_AN_ARCHIVE' });
  });

  test('bytes that are not a tar are refused: no bytes, text, a zip, xz, a damaged gzip, a damaged header', async () => {
    const whole = await pythonTar("f('a')");
    const damaged = Buffer.from(whole);
    damaged[10] = 1;
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('hello\n'),
      Buffer.from('hello\n'.repeat(1000)),
      Buffer.from('PK\x03\x04 and more'),
      Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), Buffer.alloc(100)]),
      Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(100, 7)]),
      damaged,
    ])
      await assert.rejects(place.commit(bytes), { code: 'NOT_AN_ARCHIVE' });
  });

  test('threat 96: a compressed archive that unpacks to gigabytes is refused at the limit', async () => {
    const limits = { files: 1000, bytes: 1024 ** 2 };
    for (const compress of [gzipSync, zstdCompressSync]) {
      const zeros = compress(Buffer.alloc(1024 ** 2));
      let sent = 0;
      async function* gigabytes() {
        for (; sent < 4096; sent += 1) yield zeros;
      }
      await assert.rejects(place.commit(gigabytes(), limits), { code: 'ARCHIVE_TOO_LARGE' });
      assert.ok(sent < 4096, 'everything was read');
    }
  });

  test('threat 96: a compressed archive that never unpacks to anything is refused', async () => {
    const pieces = Buffer.concat(Array.from({ length: 1000 }, () => gzipSync(Buffer.alloc(0))));
    async function* endless() {
      for (;;) yield pieces;
    }
    await assert.rejects(place.commit(endless()), { code: 'NOT_AN_ARCHIVE' });
  });

  test('a compressed archive may be larger than its files if they cannot be compressed', async () => {
    const folder = newFolder();
    const random = randomBytes(5 * 1024 ** 2);
    writeFileSync(join(folder, 'random'), random);
    const limits = { files: 10, bytes: 8 * 1024 ** 2 };
    const tar = await gnuTar(folder, '--gzip', '.');
    assert.ok(tar.length > random.length);
    const { files } = await place.commit(tar, limits);
    assert.deepEqual(files, ['100644 random']);
  });

  test('threat 96: an archive of 100,000 files is refused at the limit of 5,000, without being read to its end', async () => {
    let made = 0;
    async function* files() {
      for (; made < 100_000; made += 100)
        yield Buffer.concat(
          Array.from({ length: 100 }, (_, index) => ustarHeader(`folder-${index}/file-${made}`)),
        );
      yield Buffer.alloc(1024);
    }
    const refusal = place.commit(files(), { files: 5000, bytes: 1024 ** 3 });
    await assert.rejects(refusal, { code: 'TREE_TOO_LARGE' });
    assert.ok(made < 10_000, `${made} headers were read`);
  });

  test('an archive of `git archive`, whose global header has a comment, is read; a global header with a path, link path or size is refused', async () => {
    const { repositories, tool } = place;
    const { tree } = await place.commit(await pythonTar("f('a')\nf('b' * 120)"));
    const env = { GIT_DIR: repositories.folder(tool), GIT_AUTHOR_NAME: 'a', GIT_COMMITTER_NAME: 'a' };
    const more = { ...env, GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_EMAIL: 'a@b' };
    const commit = await execa('git', ['commit-tree', '-m', 'x', tree], { env: more });
    const tar = await execa('git', ['archive', commit.stdout], { env: more, encoding: 'buffer' });
    assert.equal(Buffer.from(tar.stdout).subarray(156, 157).toString(), 'g');
    assert.equal((await place.commit(Buffer.from(tar.stdout))).tree, tree);
    for (const key of ['path', 'linkpath', 'size']) {
      const record = longHeader('g', paxRecord(key, '1'));
      const forAll = Buffer.concat([record, ustarHeader('a'), Buffer.alloc(1024)]);
      await assert.rejects(place.commit(forAll), { code: 'BAD_ARCHIVE' }, key);
    }
  });

  test('threat 95: an archive with a control character in a path or in the target of a link is refused', async () => {
    const end = Buffer.alloc(1024);
    const first = ustarHeader('first');
    for (const name of ['a\0b', 'd/..\0x', 'd/.git\0', '\0', 'd/\0', 'a\nb', 'a\rb', 'a\x1bb', 'a\x7f']) {
      const tar = Buffer.concat([first, pax('path', name), ustarHeader('f'), end]);
      const told = { code: 'BAD_ARCHIVE', message: /control character in its name/ };
      await assert.rejects(place.commit(tar), told, JSON.stringify(name));
    }
    for (const target of ['..\0x', '../..\0', 'a\0', 'a\nb', 'a\x7f']) {
      const tar = Buffer.concat([first, pax('linkpath', target), ustarHeader('d/l', '2'), end]);
      await assert.rejects(place.commit(tar), { code: 'BAD_ARCHIVE' }, JSON.stringify(target));
      const hard = Buffer.concat([first, pax('linkpath', target), ustarHeader('d/l', '1'), end]);
      await assert.rejects(place.commit(hard), { code: 'BAD_ARCHIVE' }, JSON.stringify(target));
    }
  });

  test('an archive is refused if its client sends nothing for too long, or takes too long for the whole archive', async () => {
    const stalled = timely(slowly(60_000), new AbortController().signal, { silenceMs: 30 });
    await assert.rejects(drain(stalled), { code: 'ARCHIVE_STALLED' });
    const slow = timely(slowly(5), new AbortController().signal, { wholeMs: 100 });
    await assert.rejects(drain(slow), { code: 'ARCHIVE_STALLED' });
    const imported = timely(slowly(60_000), new AbortController().signal, {
      silenceMs: 30,
      hint: 'Import it.',
    });
    await assert.rejects(drain(imported), { code: 'ARCHIVE_STALLED', hint: 'Import it.' });
    const leaving = AbortSignal.timeout(20);
    await assert.rejects(drain(timely(slowly(60_000), leaving)), { name: 'TimeoutError' });
  });
});

async function* slowly(pauseMs: number): AsyncGenerator<Uint8Array> {
  for (;;) {
    yield Buffer.from('x');
    await new Promise((resolve) => setTimeout(resolve, pauseMs).unref());
  }
}

async function drain(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of chunks);
}
