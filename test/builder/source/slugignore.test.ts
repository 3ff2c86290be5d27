import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { applySlugignore } from '../../../src/builder/source/slugignore.ts';
import { failsWith, withBuilder } from '../support/with-builder.ts';

/** Runs with a folder that has this .slugignore and these files. The content of each file is its path. */
async function withSource(
  slugignore: string,
  paths: readonly string[],
  run: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'source-'));
  try {
    for (const path of paths) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), path);
    }
    await writeFile(join(folder, '.slugignore'), slugignore);
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((path) => path !== '.slugignore')
    .sort();
}

for (const { name, patterns, paths, left } of [
  {
    name: 'a name at any depth',
    patterns: '*.psd',
    paths: ['a.psd', 'x/b.psd', 'x/c.txt'],
    left: ['x/c.txt'],
  },
  { name: 'a folder', patterns: 'tests/', paths: ['tests/a', 'x/tests/b', 'y/tests'], left: ['y/tests'] },
  { name: 'a name only at the top', patterns: '/docs', paths: ['docs/a', 'x/docs/b'], left: ['x/docs/b'] },
  { name: 'a path', patterns: 'a/b', paths: ['a/b/c', 'x/a/b', 'a/c'], left: ['a/c', 'x/a/b'] },
  { name: 'a star within one folder', patterns: 'a/*.md', paths: ['a/b.md', 'a/c/d.md'], left: ['a/c/d.md'] },
  {
    name: 'two stars in front',
    patterns: '**/tmp/x',
    paths: ['tmp/x', 'a/b/tmp/x', 'tmp/y'],
    left: ['tmp/y'],
  },
  { name: 'two stars between', patterns: 'a/**/z', paths: ['a/z', 'a/b/c/z', 'b/z'], left: ['b/z'] },
  { name: 'two stars at the end', patterns: 'data/**', paths: ['data/a', 'data/b/c', 'd'], left: ['d'] },
  {
    name: 'character sets',
    patterns: 'log[0-9].tx?\nx[!a]',
    paths: ['log1.txt', 'logx.txt', 'xa', 'xb'],
    left: ['logx.txt', 'xa'],
  },
  { name: 'an escaped star', patterns: '\\*', paths: ['*', 'a'], left: ['a'] },
  {
    name: 'comments, spaces and Windows line ends',
    patterns: '\uFEFF# a\r\n\r\n  b  \r\n',
    paths: ['a', 'b'],
    left: ['a'],
  },
  {
    name: 'characters with a meaning in regular expressions',
    patterns: 'a+(b).$\n.',
    paths: ['a+(b).$', 'aab', 'c'],
    left: ['aab', 'c'],
  },
  {
    name: 'all files except those at the top that say how to build the tool',
    patterns: '*',
    paths: [
      'Procfile',
      'service.template',
      'Aptfile',
      'project.toml',
      'toolforge.yaml',
      'app.json',
      'x/Procfile',
      'a',
    ],
    left: ['Aptfile', 'Procfile', 'app.json', 'project.toml', 'service.template', 'toolforge.yaml'],
  },
]) {
  test(`.slugignore removes the files of a source that its patterns match: ${name}`, async () => {
    await withSource(patterns, paths, async (folder) => {
      assert.deepEqual((await applySlugignore(folder))?.warnings, []);
      assert.deepEqual(await filesIn(folder), left);
    });
  });
}

test('.slugignore: the push says how many files were left out, and which lines are not understood', async () => {
  await withSource('big\n!big/keep\n', ['big/one', 'big/keep', 'small'], async (folder) => {
    await writeFile(join(folder, 'big/one'), Buffer.alloc(3 * 1024 * 1024));
    const leftOut = await applySlugignore(folder);
    assert.equal(leftOut?.summary, '.slugignore: 2 files left out, 3.0 MiB');
    assert.match(
      leftOut?.warnings.join() ?? '',
      /^Line 2 of \.slugignore is not used: a line cannot begin with !/,
    );
  });
});

test('.slugignore: files whose names are not UTF-8 fail no build, and are removed only with a whole folder', async () => {
  await withSource('big\n*.log', ['big/one', 'small'], async (folder) => {
    for (const place of ['big/', '']) {
      const name = Buffer.concat([Buffer.from(`${folder}/${place}caf`), Buffer.of(0xe9)]);
      await mkdir(name);
      await writeFile(Buffer.concat([name, Buffer.from('/x.log')]), '');
    }
    assert.match((await applySlugignore(folder))?.summary ?? '', /: 1 file left out/);
    assert.deepEqual((await readdir(folder)).sort(), ['.slugignore', 'caf\uFFFD', 'small']);
  });
});

test('a source without a .slugignore is not changed', async () => {
  await withSource('', ['a'], async (folder) => {
    await rm(join(folder, '.slugignore'));
    assert.equal(await applySlugignore(folder), null);
  });
});

test('threat 39: .slugignore follows no links, and removes no file outside of the source', async () => {
  await withSource('precious', ['precious'], async (outside) => {
    await withSource('*/precious\nlink\nprecious', ['a'], async (folder) => {
      await symlink(outside, join(folder, 'folder'));
      await symlink(join(outside, 'precious'), join(folder, 'link'));
      await applySlugignore(folder);
      assert.deepEqual(await filesIn(folder), ['a', 'folder']);
    });
    assert.equal(await readFile(join(outside, 'precious'), 'utf8'), 'precious');
  });
});

test('threat 66: slow patterns in .slugignore fail the build; more than 200 patterns, or a .slugignore of more than 64 kB, cause a warning', async () => {
  const paths = Array.from({ length: 400 }, (_, n) => `${'a'.repeat(200)}${n}`);
  const hostile = `*${'a'.repeat(100)}b\n`.repeat(200);
  await withSource(hostile, paths, async (folder) => {
    await assert.rejects(
      applySlugignore(folder),
      failsWith('BUILD_SLUGIGNORE', /against all files of the repository takes too long/),
    );
  });
  await withSource(`${'x\n'.repeat(300)}${'y'.repeat(300)}\n`, ['a'], async (folder) => {
    assert.match((await applySlugignore(folder))?.warnings.join() ?? '', /at most 200 patterns/);
  });
  await withSource(`${'y'.repeat(70_000)}\n`, ['a'], async (folder) => {
    assert.match((await applySlugignore(folder))?.warnings.join() ?? '', /larger than 64 kB/);
  });
});

test('threat 66: long character sets in patterns of .slugignore hold up the server for less than a second', async () => {
  const letters = Array.from({ length: 240 }, (_, index) => String.fromCodePoint(0x4e00 + index)).join('');
  const hostile = `*[${letters}]!\n`.repeat(60);
  const paths = Array.from({ length: 50 }, (_, index) => letters.slice(-1).repeat(80) + index);
  await withSource(hostile, paths, async (folder) => {
    using delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await applySlugignore(folder);
    assert.ok(delay.max < 1e9, `held up for ${Math.round(delay.max / 1e6)} ms`);
  });
});

// This test counts the programs that start, so it comes before tests with builds, which may still start programs later.
test('threat 60: .slugignore removes 30 folders without starting a program', async () => {
  let programs = 0;
  const count = () => {
    programs += 1;
  };
  subscribe('child_process', count);
  const paths = Array.from({ length: 30 }, (_, index) => `folder${index}/tests/a`);
  await withSource('tests/', paths, async (folder) => {
    await applySlugignore(folder);
    assert.deepEqual(await filesIn(folder), []);
  });
  unsubscribe('child_process', count);
  assert.equal(programs, 0);
});

test('a build does not see the files that .slugignore names, and the push says how many files were left out', async () => {
  const build = `ls; printf '[[processes]]\\ntype = "web"\\ncommand = ["true"]\\n' >"$CNB_LAYERS_DIR/launch.toml"`;
  await withBuilder({ one: { build } }, async (builder) => {
    await withSource('large\n', ['large', 'small'], async (folder) => {
      const { reference } = await builder.build(folder);
      assert.match(builder.said, /\.slugignore: 1 file left out, 0\.0 MiB\n/);
      assert.deepEqual(await readdir(join(reference, 'workspace')), ['.slugignore', 'small']);
    });
  });
});
