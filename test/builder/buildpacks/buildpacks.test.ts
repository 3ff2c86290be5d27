import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ASource } from './run-buildpack.ts';

const PASS = 0;
const FAIL = 100;

for (const { buildpack, name, files, code, says } of [
  {
    buildpack: 'python',
    name: 'requirements.txt',
    files: { 'requirements.txt': '' },
    code: PASS,
    says: /^python 3\.\d+$/,
  },
  {
    buildpack: 'python',
    name: 'pyproject.toml',
    files: { 'pyproject.toml': '' },
    code: PASS,
    says: /^python 3/,
  },
  { buildpack: 'python', name: 'app.py', files: { 'app.py': '' }, code: PASS, says: /^python 3/ },
  {
    buildpack: 'python',
    name: 'service.template of Python',
    files: { 'service.template': 'type: python3.11\n' },
    code: PASS,
    says: /^python 3\.\d+ \(service\.template/,
  },
  {
    buildpack: 'python',
    name: 'service.template of Node',
    files: { 'service.template': 'type: node20\n' },
    code: FAIL,
    says: /^$/,
  },
  {
    buildpack: 'python',
    name: '.python-version',
    files: { '.python-version': '3.99.1\n' },
    code: PASS,
    says: /\(\.python-version asks for 3\.99, which is not installed here\)$/,
  },
  {
    buildpack: 'python',
    name: 'runtime.txt',
    files: { 'runtime.txt': 'python-3.99.1\n' },
    code: PASS,
    says: /runtime\.txt asks for 3\.99/,
  },
  {
    buildpack: 'python',
    name: '.python-version that PowerShell wrote',
    files: { '.python-version': Buffer.from('\uFEFF3.99\r\n', 'utf16le') },
    code: PASS,
    says: /\.python-version asks for 3\.99/,
  },
  {
    buildpack: 'python',
    name: 'a version with a zero before its number',
    files: { '.python-version': '3.09\n' },
    code: PASS,
    says: /^python 3\.\d+ \(\.python-version asks for 3\.9, which is not installed here\)$/,
  },
  {
    buildpack: 'python',
    name: 'service.template with a byte order mark',
    files: { 'service.template': '\uFEFFtype: python3.99\r\n' },
    code: PASS,
    says: /service\.template asks for 3\.99/,
  },
  {
    buildpack: 'pip',
    name: 'pyproject.toml with a byte order mark',
    files: { 'pyproject.toml': '\uFEFF[project]\r\nname = "a"\r\n' },
    code: PASS,
    says: /^pip \(pyproject\.toml\)$/,
  },
  {
    buildpack: 'uwsgi',
    name: 'a Procfile with a byte order mark before web',
    files: { 'app.py': 'app = 1\n', Procfile: '\uFEFFweb: x\r\n' },
    code: FAIL,
    says: /^$/,
  },
  {
    buildpack: 'python',
    name: 'Python 2',
    files: { 'runtime.txt': 'python-2.7.18\n' },
    code: PASS,
    says: /asks for 2\.7, which is not installed here/,
  },
  { buildpack: 'python', name: 'only a README', files: { 'README.md': '' }, code: FAIL, says: /^$/ },
  {
    buildpack: 'python',
    name: 'a version file that is a command (threat 66)',
    files: { '.python-version': '3.$(touch hacked)\n' },
    code: PASS,
    says: /^python 3\.\d+ \(\.python-version\)$/,
  },
  {
    buildpack: 'pip',
    name: 'requirements.txt',
    files: { 'requirements.txt': '' },
    code: PASS,
    says: /^pip$/,
  },
  {
    buildpack: 'pip',
    name: 'pyproject.toml with a project',
    files: { 'pyproject.toml': '[project]\nname = "x"\n' },
    code: PASS,
    says: /^pip \(pyproject\.toml\)$/,
  },
  {
    buildpack: 'pip',
    name: 'pyproject.toml with tool settings only',
    files: { 'pyproject.toml': '[tool.black]\n' },
    code: FAIL,
    says: /^$/,
  },
  {
    buildpack: 'python',
    name: 'service.template in the folder of webservice',
    files: { 'www/python/src/service.template': 'type: python3.99\n' },
    code: PASS,
    says: /\(service\.template asks for 3\.99, which is not installed here\)$/,
  },
  {
    buildpack: 'pip',
    name: 'requirements.txt in the folder of webservice',
    files: { 'www/python/src/requirements.txt': '' },
    code: PASS,
    says: /^pip$/,
  },
  {
    buildpack: 'pip',
    name: 'two requirements.txt',
    files: { 'www/python/src/requirements.txt': '', 'requirements.txt': '' },
    code: PASS,
    says: /^pip\nnote: www\/python\/src\/requirements\.txt is not used, because/,
  },
  ...Object.entries({
    'app = Flask(__name__)\n': PASS,
    'app: Flask = make()\n': PASS,
    'def app(environ, start_response):\n  pass\n': PASS,
    'class app:\n  pass\n': PASS,
    'from tool import application as app\n': PASS,
    'from tool import *\n': PASS,
    'try:\n  import x\nexcept ImportError:\n  app = 1\n': PASS,
    'if x:\n  pass\nelse:\n  server, app = make()\n': PASS,
    'this is no Python, and app\n': PASS,
    'def make():\n  app = 1\n  return app\n': FAIL,
    'print("app = 1")\n': FAIL,
    'application = 1\n': FAIL,
    '': FAIL,
  }).map(([text, code]) => ({
    buildpack: 'uwsgi',
    name: `app.py with ${JSON.stringify(text)}`,
    files: { 'app.py': text },
    code,
    says: code === PASS ? /^uwsgi$/ : /^note: app\.py is left aside by uwsgi: it sets no `app`$/,
  })),
  {
    buildpack: 'uwsgi',
    name: 'the folder of webservice',
    files: { 'www/python/src/app.py': 'app = 1\n', 'app.py': '' },
    code: PASS,
    says: /^uwsgi$/,
  },
  {
    buildpack: 'uwsgi',
    name: 'a Procfile without web',
    files: { 'app.py': 'app = 1\n', Procfile: 'worker: x\n' },
    code: PASS,
    says: /^uwsgi$/,
  },
  {
    buildpack: 'uwsgi',
    name: 'a Procfile with web',
    files: { 'app.py': 'app = 1\n', Procfile: 'worker: x\n  web: gunicorn app:app\n' },
    code: FAIL,
    says: /^$/,
  },
  {
    buildpack: 'uwsgi',
    name: 'gunicorn among the requirements',
    files: { 'app.py': 'app = 1\n', 'requirements.txt': 'flask\ngunicorn\n' },
    code: FAIL,
    says: /^$/,
  },
  { buildpack: 'uwsgi', name: 'no app.py', files: { 'wsgi.py': 'app = 1\n' }, code: FAIL, says: /^$/ },
  {
    buildpack: 'uwsgi',
    name: 'an app.py that would do something (threat 66)',
    files: { 'app.py': 'open("hacked", "w")\napp = 1\n', 'ast.py': 'open("hacked", "w")\n' },
    code: PASS,
    says: /^uwsgi$/,
  },
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
    name: 'bytes that are no UTF-8',
    text: Buffer.from([0x77, 0x65, 0x62, 0x3a, 0x20, 0xff, 0x0a]),
    says: /not UTF-8/,
  },
  { name: 'a huge file', text: `web: ${'x'.repeat(70_000)}\n`, says: /larger than 64 kB/ },
  { name: 'no process', text: '# none\n', says: /no line of the form/ },
  {
    name: 'too many processes',
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

for (const { name, text, files = {}, code = 1, says } of [
  {
    name: 'a Python server that nothing installs',
    text: '# the tool\nweb: WEB_CONCURRENCY=2 exec gunicorn app:app --bind "0.0.0.0:$PORT"\n',
    says: / ! {5}web runs gunicorn \(line 2 of the Procfile\), but no requirements install it\. Add gunicorn to requirements\.txt\.$/,
  },
  { name: 'uwsgi', text: 'web: uwsgi uwsgi.ini\n', says: /but no requirements install it\. Add pyuwsgi to/ },
  {
    name: 'a program of the release phase',
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
    name: 'a file that is not executable',
    text: 'web: bin/start\n',
    files: { 'bin/start': '' },
    says: /Type `git update-index --chmod=\+x bin\/start` and commit\.$/m,
  },
  {
    name: 'a named command is only warned about',
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
  ].map((command) => ({
    name: `nothing certain: ${command}`,
    text: `web: ${command}\n`,
    code: 0,
    says: /^(?![\s\S]* !)/,
  })),
]) {
  test(`a program of the Procfile that nothing provides is reported by the build: ${name}`, async () => {
    await using source = await ASource.of({ ...files, Procfile: text });
    const run = await source.run('procfile', 'build');
    assert.equal(run.code, code, run.output);
    assert.match(run.output, says);
  });
}

for (const { name, files, web, says } of [
  {
    name: 'gunicorn and app.py',
    files: { 'app.py': '', 'requirements.txt': 'flask\nGunicorn==23.0\n' },
    web: ['gunicorn', 'app:app'],
    says: /web: gunicorn app:app/,
  },
  {
    name: 'gunicorn and Django',
    files: { 'manage.py': '', 'tool/wsgi.py': '', 'requirements.txt': 'gunicorn>=20\n' },
    web: ['gunicorn', 'tool.wsgi'],
    says: /tool\.wsgi/,
  },
  {
    name: 'gunicorn first in a file with a byte order mark',
    files: { 'app.py': '', 'requirements.txt': '\uFEFFgunicorn\r\nflask\r\n' },
    web: ['gunicorn', 'app:app'],
    says: /web: gunicorn app:app/,
  },
  {
    name: 'gunicorn in a file that PowerShell wrote',
    files: {
      'manage.py': '',
      'tool/wsgi.py': '',
      'requirements.txt': Buffer.from('\uFEFFdjango\r\ngunicorn==23.0.0\r\n', 'utf16le'),
    },
    web: ['gunicorn', 'tool.wsgi'],
    says: /tool\.wsgi/,
  },
  {
    name: 'the folder of webservice',
    files: { 'www/python/src/app.py': '', 'requirements.txt': 'gunicorn\n' },
    web: ['gunicorn', '--chdir', 'www/python/src', 'app:app'],
    says: /www/,
  },
  {
    name: 'no gunicorn',
    files: { 'app.py': '', 'requirements.txt': 'flask\ngunicorn-thing\n' },
    web: null,
    says: /add a file named Procfile/,
  },
  {
    name: 'a Procfile with web',
    files: { 'app.py': '', Procfile: 'web: x\n', 'requirements.txt': 'gunicorn\n' },
    web: null,
    says: /Using Python/,
  },
]) {
  test(`the python buildpack chooses the web process, or none: ${name}`, async () => {
    await using source = await ASource.of(files);
    const { code, output } = await source.run('python', 'build');
    assert.equal(code, 0, output);
    assert.match(output, says);
    if (web === null) await assert.rejects(source.processes(), { code: 'ENOENT' });
    else assert.deepEqual((await source.processes())['web'], web);
  });
}

test('the python buildpack says which version it uses if the requested one is not installed', async () => {
  await using source = await ASource.of({ 'app.py': '', '.python-version': '3.99\n' });
  const { output } = await source.run('python', 'build');
  assert.match(
    output,
    / ! {5}\.python-version asks for Python 3\.99, which is not installed here: the nearest, Python 3\.\d+, is used/,
  );
});
