import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { lookedFor, overlookedFiles } from '../../../src/builder/source/overlooked-files.ts';
import { rewriteAsUtf8, windowsScripts } from '../../../src/builder/source/plain-text.ts';
import { failsWith } from '../support/with-builder.ts';

class Source implements AsyncDisposable {
  readonly folder: string;
  readonly files: readonly string[];

  private constructor(folder: string, files: readonly string[]) {
    this.folder = folder;
    this.files = files;
  }

  static async of(files: Readonly<Record<string, string | Buffer>>): Promise<Source> {
    const folder = await mkdtemp(join(tmpdir(), 'source-'));
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), content);
    }
    return new Source(folder, [...new Set(Object.keys(files).map((path) => path.split('/')[0] ?? ''))]);
  }

  overlooked(): Promise<string[]> {
    return overlookedFiles(this.folder, this.files);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true });
  }
}

for (const [file, wanted] of [
  ['procfile', 'Procfile'],
  ['PROCFILE', 'Procfile'],
  ['Procfile.txt', 'Procfile'],
  ['ProcFile.yaml', 'Procfile'],
  ['Profile', 'Procfile'],
  ['requirement.txt', 'requirements.txt'],
  ['requirments.txt', 'requirements.txt'],
  ['Requirements.txt', 'requirements.txt'],
  ['requirements.txt.txt', 'requirements.txt'],
  ['requirements.text', 'requirements.txt'],
  ['requriements.txt', 'requirements.txt'],
  ['runtime.text', 'runtime.txt'],
  ['.python_version', '.python-version'],
  ['python-version', '.python-version'],
  ['.pythonversion', '.python-version'],
  ['aptfile', 'Aptfile'],
  ['AptFile.txt', 'Aptfile'],
  ['toolforge.yml', 'toolforge.yaml'],
  ['toolforge.yaml.txt', 'toolforge.yaml'],
  ['jobs-yaml', 'jobs.yaml'],
  ['service-template', 'service.template'],
  ['services.template', 'service.template'],
  ['.slug-ignore', '.slugignore'],
  ['Package.json', 'package.json'],
  ['packages.json', 'package.json'],
  ['pipfile', 'Pipfile'],
  ['gemfile', 'Gemfile'],
  ['index.htm', 'index.html'],
  ['Index.html', 'index.html'],
  ['pyproject.tml', 'pyproject.toml'],
  ['rust-toolchain.tml', 'rust-toolchain.toml'],
  ['systems.properties', 'system.properties'],
  ['Build.gradle', 'build.gradle'],
] as const) {
  test(`a file with a misspelt name is reported, unless a file with the right name exists: ${file}`, async () => {
    await using source = await Source.of({ [file]: '' });
    assert.deepEqual(await source.overlooked(), [
      `${file} is not used: rename it to ${wanted} (exactly this name)`,
    ]);
    await using both = await Source.of({ [file]: '', [wanted]: '' });
    assert.deepEqual(await both.overlooked(), []);
  });
}

for (const [file, sentence] of [
  ['apt.txt', 'apt.txt is not used: rename it to Aptfile'],
  [
    'requirements.in',
    'requirements.in is not used: run `pip-compile requirements.in` and commit the file requirements.txt that it makes',
  ],
  [
    'requirements-prod.txt',
    'requirements-prod.txt is not used: make a file requirements.txt with the line `-r requirements-prod.txt`',
  ],
  ['reqs.txt', 'reqs.txt is not used: make a file requirements.txt with the line `-r reqs.txt`'],
  ['crontab', 'crontab is not used: write its lines as scheduled components into a toolforge.yaml'],
  ['Dockerfile', 'Dockerfile is not used, because buildpacks build the tool'],
  ['heroku.yml', 'heroku.yml is not used, because buildpacks build the tool'],
  [
    'backend/requirements.txt',
    'backend/requirements.txt is not used, because builds read only files at the top of the repository. Move the files of backend/ there, or push this folder alone: git subtree push --prefix backend toolforge main',
  ],
] as const) {
  test(`a file that builds do not use is reported with advice or the reason: ${file}`, async () => {
    await using source = await Source.of({ [file]: '' });
    assert.deepEqual(await source.overlooked(), [sentence]);
  });
}

test('all files of other platforms are reported in one sentence', async () => {
  await using source = await Source.of({
    ...{ Dockerfile: '', 'docker-compose.yml': '', 'fly.toml': '', '.dockerignore': '', 'app.py': '' },
  });
  assert.deepEqual(await source.overlooked(), [
    'Dockerfile, docker-compose.yml, fly.toml are not used, because buildpacks build the tool',
  ]);
});

test('a requirements.txt or go.mod in a folder is reported if the top of the repository has no such file; if builds recognise no file at the top, the push says how to push this folder alone', async () => {
  await using one = await Source.of({ Procfile: '', 'web/requirements.txt': '', 'web/Procfile': '' });
  assert.deepEqual(await one.overlooked(), [
    'web/requirements.txt is not used, because builds read only files at the top of the repository',
  ]);
  await using two = await Source.of({ 'app/main.py': '', 'app/go.mod': '', 'README.md': '' });
  assert.match(
    String(await two.overlooked()),
    /^app\/go\.mod, app\/main\.py are not used.*push --prefix app /,
  );
});

test('if a Python tool has requirements files only in its folder requirements, the push says to include requirements/production.txt', async () => {
  const files = { 'requirements/base.txt': '', 'requirements/dev.txt': '', 'manage.py': '' };
  await using source = await Source.of({ ...files, 'requirements/production.txt': '' });
  assert.deepEqual(await source.overlooked(), [
    'requirements/production.txt is not used: make a file requirements.txt with the line `-r requirements/production.txt`',
  ]);
  await using both = await Source.of({ ...files, 'requirements.txt': '' });
  assert.deepEqual(await both.overlooked(), []);
});

test('a requirements.txt in the folder src is not reported, because it is read', async () => {
  await using source = await Source.of({ 'src/requirements.txt': '', 'src/app.py': '' });
  assert.deepEqual(await source.overlooked(), []);
});

test('no file of an ordinary source is reported as a file that builds do not use', async () => {
  await using source = await Source.of({
    ...{ 'README.md': '', LICENSE: '', Makefile: '', 'setup.cfg': '', 'tox.ini': '', '.gitignore': '' },
    ...{ 'app.py': '', 'requirements.txt': '', 'requirements-dev.txt': '', 'package.json': '', Rakefile: '' },
    ...{ 'docs/requirements.txt': '', 'tests/package.json': '', 'static/index.html': '', Procfile: '' },
    ...{ 'public/index.html': '', 'lib/package.json': '', '.env': '', 'robots.txt': '', 'data.txt': '' },
    ...{ 'tsconfig.json': '', 'manage.py': '', 'CHANGELOG.md': '', 'Pipfile.lock': '', 'humans.txt': '' },
  });
  assert.deepEqual(await source.overlooked(), []);
});

test('threat 39: a folder that is a link out of the source is not looked into', async () => {
  await using secret = await Source.of({ 'requirements.txt': '' });
  await using source = await Source.of({ 'README.md': '' });
  await symlink(secret.folder, join(source.folder, 'link'));
  assert.deepEqual(await overlookedFiles(source.folder, ['README.md', 'link']), []);
});

test('if no buildpack detects a source, the push lists only files of languages that have a buildpack on the server', () => {
  assert.deepEqual(lookedFor(new Set(['go', 'procfile', 'sample'])), [
    'Looked for, at the top of the repository:',
    '  Go: go.mod or go.work',
    '  Shell scripts: jobs.yaml or toolforge.yaml with their commands',
    '  Any other program: Procfile with a line `web: COMMAND`',
  ]);
  assert.deepEqual(lookedFor(new Set(['sample'])), []);
});

const utf16 = (text: string) => Buffer.from(text, 'utf16le');
for (const [name, content, wanted, isTold] of [
  ['UTF-16 with a byte order mark', utf16('\uFEFFflask\r\n'), 'flask\r\n', true],
  ['UTF-16 with swapped bytes', utf16('\uFEFFé\n').swap16(), 'é\n', true],
  ['UTF-16 without a byte order mark', utf16('flask\n'), 'flask\n', true],
  ['UTF-8 with a byte order mark', Buffer.from('\uFEFFflask\n'), 'flask\n', false],
  ['UTF-8 without a byte order mark', Buffer.from('flask\n'), 'flask\n', false],
  ['UTF-16 that is cut off', Buffer.of(0xff, 0xfe, 0x00), '\uFFFD\uFFFD\0', false],
  ['an empty file', Buffer.of(), '', false],
] as const) {
  test(`requirements.txt, which builds read, is rewritten as UTF-8, but data.txt stays as it is: ${name}`, async () => {
    await using source = await Source.of({ 'requirements.txt': content, 'data.txt': utf16('x') });
    const warnings = await rewriteAsUtf8(source.folder, source.files);
    assert.equal(await readFile(join(source.folder, 'requirements.txt'), 'utf8'), wanted);
    assert.match(
      warnings.join(),
      isTold ? /^requirements\.txt is saved as UTF-16\. .*Save the file as UTF-8/ : /^$/,
    );
    assert.deepEqual(await readFile(join(source.folder, 'data.txt')), utf16('x'));
  });
}

test('threat 39: if a file that builds read is a link, its target is not rewritten as UTF-8', async () => {
  await using outside = await Source.of({ file: utf16('\uFEFFx') });
  await using source = await Source.of({});
  await symlink(join(outside.folder, 'file'), join(source.folder, 'Procfile'));
  assert.deepEqual(await rewriteAsUtf8(source.folder, ['Procfile']), []);
  assert.deepEqual(await readFile(join(outside.folder, 'file')), utf16('\uFEFFx'));
});

test('a script whose first line has a Windows line end is reported', async () => {
  await using source = await Source.of({
    ...{
      'start.sh': '#!/bin/bash\r\necho\r\n',
      'bin/run': '#!/bin/sh\r\n',
      'good.sh': '#!/bin/sh\necho\r\n',
    },
    ...{ 'app.py': 'import os\r\n', 'data.txt': '#!x\r\n' },
  });
  assert.deepEqual(
    (await windowsScripts(source.folder)).map((sentence) => sentence.split(' ')[0]),
    ['start.sh', 'bin/run'],
  );
});

test('a file with the marks of a merge conflict is refused, and the error names the file and the line of the first mark', async () => {
  await using source = await Source.of({
    'requirements.txt': 'flask\n<<<<<<< HEAD\nrequests\n=======\nhttpx\n>>>>>>> other\n',
  });
  await assert.rejects(
    rewriteAsUtf8(source.folder, source.files),
    failsWith('BUILD_CONFLICT', /^the file requirements\.txt has the marks of a merge conflict in line 2$/),
  );
});

test('the files jobs.yml, cronjobs.yaml and toolforge-jobs.yaml are not reported as misspelt', async () => {
  await using source = await Source.of({ 'jobs.yml': '', 'cronjobs.yaml': '', 'toolforge-jobs.yaml': '' });
  assert.deepEqual(await source.overlooked(), []);
});
