import assert from 'node:assert/strict';
import { chmod, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readProcfile } from '../../../src/builder/source/procfile.ts';
import { productBuildpacks } from '../support/a-builder.ts';
import { ASource } from './run-buildpack.ts';

const PASS = 0;
const FAIL = 100;

for (const { buildpack, name, files, code, says } of [
  {
    buildpack: 'procfile',
    name: 'a Procfile',
    files: { Procfile: 'web: x\nworker: y\n' },
    code: PASS,
    says: /^Procfile \(web worker\)$/,
  },
  { buildpack: 'procfile', name: 'no Procfile', files: {}, code: FAIL, says: /^$/ },
]) {
  test(`bin/detect of the buildpack ${buildpack} says whether it takes part, and why: ${name}`, async () => {
    await using source = await ASource.of(files);
    const result = await source.run(buildpack, 'detect');
    assert.equal(result.code, code, result.output);
    assert.match(result.output, says);
    await assert.rejects(readFile(join(source.folder, 'hacked')), { code: 'ENOENT' });
  });
}

test('the procfile buildpack takes part without a Procfile if a tool with a jobs.yaml has only shell scripts or no programs', async () => {
  for (const file of ['run.sh', 'README.md']) {
    await using scripts = await ASource.of({ 'jobs.yaml': '- name: a\n', [file]: '' });
    const found = await scripts.run('procfile', 'detect');
    assert.deepEqual(found, { ...found, code: 0, output: 'commands (jobs.yaml)' });
    assert.equal((await scripts.run('procfile', 'build')).code, 0);
  }
  for (const file of ['requirements.txt', 'bot.cs', 'bot.jar']) {
    await using bot = await ASource.of({ 'jobs.yaml': '- name: a\n', 'run.sh': '', [file]: '' });
    assert.equal((await bot.run('procfile', 'detect')).code, 100, file);
  }
});

for (const { buildpack, file, command, image } of [
  { buildpack: 'python', file: 'bot/task.py', command: 'python3 bot/task.py', image: 'tf-python39' },
  { buildpack: 'php', file: 'bot/task.php', command: 'cd bot && php -f task.php', image: 'php8.2' },
  { buildpack: 'node', file: 'bot/task.js', command: 'node bot/task.js', image: 'node18' },
]) {
  test(`a bot with its program in a folder gets the buildpack ${buildpack} only if a job in jobs.yaml runs a program of this language, or names Toolforge’s image for it`, async () => {
    for (const [jobs, code] of [
      [`- name: a\n  command: ${command}\n  image: bookworm\n`, PASS],
      [`- name: a\n  image: "${image}"\n  command: ./run.sh\n`, PASS],
      [`- {name: a, command: ./run.sh, image: ${image}}\n`, PASS],
      ['- name: a\n  command: ./run.sh\n  image: tool-php8/tool-php8:latest\n', FAIL],
    ] as const) {
      for (const name of ['jobs.yaml', 'toolforge-jobs.yaml']) {
        await using bot = await ASource.of({ [name]: jobs, [file]: '', 'run.sh': '' });
        assert.equal((await bot.run(buildpack, 'detect')).code, code, jobs);
      }
    }
  });
}

test('paths of Heroku’s buildpacks are removed from commands of a Procfile, because the programs are in PATH', async () => {
  await using source = await ASource.of({
    Procfile:
      'web: env A=1 /layers/heroku_go/go_target/bin/webserver --port $PORT\nproxy: /layers/heroku_deb-packages/packages/usr/sbin/haproxy\n',
  });
  const { output } = await source.run('procfile', 'build');
  assert.match(output, /^ {7}web: env A=1 webserver --port \$PORT$/m);
  assert.match(output, /^ {7}proxy: haproxy$/m);
});

test('threat 66: the procfile buildpack runs no part of a Procfile, and passes the commands on as they were written', async () => {
  const command = `echo "a\\b" 'c' $(touch hacked) \`touch hacked\` & \\" ]\\ncommand = ["x"] # €`;
  await using source = await ASource.of({
    Procfile: `web: ${command}\r\nevil: x"]\ntype = "root"\n[[processes]]\nBad: y\n  late: z  \n`,
  });
  const { code, output } = await source.run('procfile', 'build');
  assert.equal(code, 0, output);
  assert.deepEqual(await source.processes(), {
    web: ['bash', '-c', command],
    evil: ['bash', '-c', 'x"]'],
    late: ['bash', '-c', 'z'],
  });
  await assert.rejects(readFile(join(source.folder, 'hacked')), { code: 'ENOENT' });
});

for (const { name, text, says } of [
  { name: 'a control character', text: 'web: a\u0007b\n', says: /control character/ },
  {
    name: 'bytes that are not UTF-8',
    text: Buffer.from([0x77, 0x65, 0x62, 0x3a, 0x20, 0xff, 0x0a]),
    says: /not UTF-8/,
  },
  { name: 'a file of 70 kB', text: `web: ${'x'.repeat(70_000)}\n`, says: /larger than 64 kB/ },
  { name: 'a type that is written twice', text: 'web: web: ./x\n', says: /begins with `web:` twice/ },
  { name: 'no line with a process', text: '# none\n', says: /no line of the form/ },
  {
    name: '51 processes',
    text: Array.from({ length: 51 }, (_, n) => `p${n}: x\n`).join(''),
    says: /more than 50/,
  },
]) {
  test(`threat 66: a Procfile that cannot be used is refused with the reason: ${name}`, async () => {
    await using source = await ASource.of({ Procfile: text });
    const { code, output } = await source.run('procfile', 'build');
    assert.equal(code, 1);
    assert.match(output, says);
  });
}

test('the server warns once of each bad line of a Procfile, and the procfile buildpack skips these lines silently', async () => {
  const lines = ['web: ./old', '.listen(process.env.PORT)', 'Worker: ./work', 'web: ./new'];
  await using source = await ASource.of({ Procfile: `${lines.join('\n')}\n`, new: '#!/bin/sh\n' });
  await chmod(join(source.folder, 'new'), 0o755);
  const { code, output } = await source.run('procfile', 'build');
  assert.equal(code, 0, output);
  const { warnings } = await readProcfile(source.folder);
  for (const [index, of] of ['Line 2', 'Line 3', 'Line 4 of the Procfile replaces line 1'].entries())
    assert.ok(warnings[index]?.startsWith(of), warnings[index]);
  assert.equal(warnings.length, 3);
  assert.doesNotMatch(output, / ! /);
  assert.deepEqual(await source.processes(), { web: ['bash', '-c', './new'] });
});

for (const { name, text, files = {}, code = 1, says } of [
  {
    name: 'a Python server that nothing installs',
    text: '# the tool\nweb: WEB_CONCURRENCY=2 exec gunicorn app:app --bind "0.0.0.0:$PORT"\n',
    says: / ! {5}web runs gunicorn \(line 2 of the Procfile\), but no requirements install it\. Add gunicorn to requirements\.txt\.$/,
  },
  {
    name: 'a Python server whose requirements are in the folder where it starts',
    text: 'web: cd backend && gunicorn main:app\n',
    files: { 'backend/requirements.txt': 'gunicorn\n' },
    says: /web runs gunicorn \(line 1 of the Procfile\), but builds read only a requirements\.txt at the top\. Add one with the line `-r backend\/requirements\.txt`\.$/,
  },
  {
    name: 'a Node server whose packages nothing installs in the folder where it starts',
    text: 'web: cd server && npm start\n',
    files: { 'server/package.json': '{"dependencies": {"express": "4"}}' },
    says: /web runs npm .*, but nothing installs the packages of server\/package\.json\. Let the build script of a package\.json at the top run `npm --prefix server install`\.$/,
  },
  {
    name: 'a Node server that installs its packages when it starts',
    text: 'web: cd server && npm start\n',
    files: {
      'server/package.json':
        '{"scripts": {"start": "npm install && node a"}, "dependencies": {"express": "4"}}',
    },
    code: 0,
    says: /web: cd server && npm start$/,
  },
  { name: 'uwsgi', text: 'web: uwsgi uwsgi.ini\n', says: /but no requirements install it\. Add pyuwsgi to/ },
  {
    name: 'a program of the process type release',
    text: 'release: rails db:migrate\n',
    says: /release runs rails .* Gemfile/,
  },
  {
    name: 'a package of Debian',
    text: 'web: httpd-of-mine -p 1\n',
    says: /nothing installs it.* Aptfile\.$/m,
  },
  {
    name: 'a file that is missing',
    text: 'web: ./start.sh\n',
    says: /web runs \.\/start\.sh .*, but there is no such file/,
  },
  {
    name: 'a program of a buildpack of Heroku',
    text: 'web: bin/start-nginx gunicorn app:app\n',
    says: /web runs bin\/start-nginx .*, but bin\/start-nginx belongs to a buildpack of Heroku\. Take it out of the line/,
  },
  {
    name: 'a file that is missing, after variables with the port',
    text: 'web: ADDRESS=0.0.0.0:$PORT TOOL_PORT=$PORT ./target/release/main\n',
    says: /web runs \.\/target\/release\/main .*, but there is no such file\. Add it/,
  },
  {
    name: 'a file of a language that no buildpack builds',
    text: 'web: target/universal/stage/bin/site -Dhttp.port=$PORT\n',
    files: { 'build.sbt': '' },
    says: /web runs target\S+ .*, but there is no such file: build\.sbt is for Scala with sbt, which no buildpack builds here\. Compile/,
  },
  {
    name: 'a script of an interpreter that is missing',
    text: 'web: bash target/site.sh\n',
    files: { 'project.clj': '' },
    says: /web runs bash .*, but there is no target\/site\.sh: project\.clj is for Clojure, which no buildpack/,
  },
  {
    name: 'nothing is reported for a script that is there',
    text: 'web: perl -Ilib site.pl $PORT\n',
    files: { 'site.pl': '' },
    code: 0,
    says: /^(?![\s\S]* !)/,
  },
  {
    name: 'a program without a buildpack',
    text: 'web: deno run main.ts\n',
    says: /but no buildpack installs it\. Add deno to the dependencies of package\.json, and write `npx deno`/,
  },
  {
    name: 'a file that is not executable',
    text: 'web: bin/start\n',
    files: { 'bin/start': '' },
    says: /Run `git update-index --chmod=\+x bin\/start` and commit\.$/m,
  },
  {
    name: 'a program that only builds have',
    text: 'web: make serve\n',
    files: { status: 'Package: bash\n' },
    says: /web runs make \(line 1 of the Procfile\), but make exists only during the build\./,
  },
  {
    name: 'Java in a tool without jars',
    text: 'web: java -version\n',
    files: { status: 'Package: bash\n' },
    says: /but nothing installs it for tools\. A pom\.xml, the files of Gradle or a jar in the repository does\.$/,
  },
  {
    name: 'Java in a tool that no buildpack builds',
    text: 'web: java -version\n',
    files: { status: 'Package: bash\n', 'project.clj': '' },
    says: /but nothing installs it for tools: project\.clj is for Clojure, which no buildpack builds here\./,
  },
  {
    name: 'nothing is reported for a program that tools also have',
    text: 'web: make serve\n',
    files: { status: 'Package: make\n' },
    code: 0,
    says: /^(?![\s\S]* !)/,
  },
  {
    name: 'the build only warns about a named command',
    text: 'web: sleep 9\nworker: celery -A tool worker\n',
    code: 0,
    says: / ! {5}worker runs celery \(line 2 of the Procfile\), but no requirements install it/,
  },
  ...[
    'cd src && gunicorn app:app',
    '$HOME/start',
    'PATH=/opt/bin gunicorn app:app',
    '"gunicorn" app:app',
    '/opt/start',
    'if true; then gunicorn app:app; fi',
    '(gunicorn app:app)',
    'env -i gunicorn',
    'gunicorn;',
    'sh -c gunicorn',
    'bash $HOME/start.sh',
  ].map((command) => ({
    name: `nothing is reported for ${command}`,
    text: `web: ${command}\n`,
    code: 0,
    says: /^(?![\s\S]* !)/,
  })),
]) {
  test(`the build reports programs that a Procfile names but nothing provides: ${name}`, async () => {
    await using source = await ASource.of({ ...files, Procfile: text });
    const run = await source.run('procfile', 'build', {
      TOOLFORGE_RUN_PACKAGES: join(source.folder, 'status'),
    });
    assert.equal(run.code, code, run.output);
    assert.match(run.output, says);
  });
}

test('buildpacks use TMPDIR only with a default, because builds in a cluster do not have this variable', async () => {
  const entries = await readdir(productBuildpacks, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  assert.ok(files.length > 50, 'the buildpacks are found');
  for (const file of files) assert.doesNotMatch(await readFile(file, 'utf8'), /\$(TMPDIR|\{TMPDIR\})/, file);
});
