import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ASource } from '../run-buildpack.ts';

const PASS = 0;
const FAIL = 100;
const utf16 = (text: string) => Buffer.from(`\uFEFF${text}`, 'utf16le');
const project = (range: string) => `[project]\nname = "a"\nrequires-python = "${range}"\n`;

for (const { name, files, code, says } of [
  ...[
    'requirements.txt',
    'www/python/src/requirements.txt',
    'Pipfile',
    'uv.lock',
    'poetry.lock',
    'setup.py',
    'app.py',
    'main.py',
    'www/python/src/app.py',
    'update.py',
    'pyproject.toml',
  ].map((file) => ({ name: file, files: { [file]: '' }, code: PASS, says: /^python 3\.\d+$/ })),
  ...[
    'web: python app.py',
    'web: python3 -u server.py',
    'web: gunicorn app:app',
    'worker: exec ./update.py --all',
    'web: cd src && python3.11 x.py',
  ].map((line) => ({ name: line, files: { Procfile: `${line}\n` }, code: PASS, says: /^python 3\.\d+$/ })),
  ...['web: node pythons.js', 'web: ./run pythonic', 'web: perl app.pl'].map((line) => ({
    name: line,
    files: { Procfile: `${line}\n` },
    code: FAIL,
    says: /^$/,
  })),
  { name: 'only a README', files: { 'README.md': '' }, code: FAIL, says: /^$/ },
  ...['package.json', 'index.html', 'composer.json', 'go.mod', 'Cargo.toml', 'Gemfile'].map((manifest) => ({
    name: `a helper in a tool with ${manifest}`,
    files: { [manifest]: '', 'helper.py': '', 'pyproject.toml': '[tool.black]\n' },
    code: FAIL,
    says: /^$/,
  })),
  {
    name: 'service.template of Python',
    files: { 'service.template': 'type: python3.99\n' },
    code: PASS,
    says: /^python 3\.99 \(service\.template\)$/,
  },
  {
    name: 'service.template of Python in the folder of webservice',
    files: { 'www/python/src/service.template': '\uFEFFtype: "python3.99"\r\n' },
    code: PASS,
    says: /^python 3\.99 \(service\.template\)$/,
  },
  {
    name: 'service.template of Node',
    files: { 'service.template': 'type: node20\n' },
    code: FAIL,
    says: /^$/,
  },
  {
    name: '.python-version with a comment',
    files: { '.python-version': '# for pyenv\n3.99.1\n' },
    code: PASS,
    says: /^python 3\.99\.1 \(\.python-version\)$/,
  },
  {
    name: '.python-version that PowerShell wrote',
    files: { '.python-version': utf16('3.99\r\n') },
    code: PASS,
    says: /^python 3\.99 \(\.python-version\)\nnote: \.python-version is saved as UTF-16/,
  },
  {
    name: '.python-version with a byte order mark',
    files: { '.python-version': '\uFEFF3.99\r\n' },
    code: PASS,
    says: /^python 3\.99 \(\.python-version\)$/,
  },
  {
    name: 'runtime.txt of Heroku',
    files: { 'runtime.txt': 'python-3.99.1\n' },
    code: PASS,
    says: /^python 3\.99\.1 \(runtime\.txt\)$/,
  },
  {
    name: 'python_version in Pipfile',
    files: { Pipfile: '[requires]\npython_version = "3.99"\n' },
    code: PASS,
    says: /^python 3\.99 \(Pipfile\)$/,
  },
  {
    name: 'Pipfile.lock alone',
    files: { 'Pipfile.lock': '{"_meta": {"requires": {"python_version": "3.99"}}}' },
    code: PASS,
    says: /^python 3\.99 \(Pipfile\.lock\)$/,
  },
  ...[
    ['a range that the machine’s Python fits', project('>=3.8'), /^python 3\.\d+ \(pyproject\.toml\)$/],
    ['a range of later versions', project('>=3.99'), /^python >=3\.99 \(pyproject\.toml\)$/],
    [
      'a caret as poetry writes it',
      '[tool.poetry.dependencies]\npython = "^3.8"\n',
      /^python 3\.\d+ \(pyproject\.toml\)$/,
    ],
    [
      'a tilde as poetry writes it',
      '[tool.poetry.dependencies]\npython = "~3.98"\n',
      /^python ~3\.98 \(pyproject\.toml\)$/,
    ],
    [
      'alternatives as poetry writes them',
      '[tool.poetry.dependencies]\npython = "~2.7 || ^3.8"\n',
      /^python 3\.\d+ \(pyproject\.toml\)$/,
    ],
  ].map(([name, text, says]) => ({
    name: String(name),
    files: { 'pyproject.toml': String(text) },
    code: PASS,
    says: says as RegExp,
  })),
  {
    name: 'uv.lock without requires-python in pyproject.toml',
    files: { 'uv.lock': 'version = 1\nrequires-python = ">=3.99"\n', 'pyproject.toml': '[project]\n' },
    code: PASS,
    says: /^python >=3\.99 \(uv\.lock\)$/,
  },
  {
    name: 'setup.cfg',
    files: { 'setup.cfg': '[options]\npython_requires = >=3.99\n' },
    code: PASS,
    says: /^python >=3\.99 \(setup\.cfg\)$/,
  },
  ...[
    ['.tool-versions', 'nodejs 20.1.0\npython 3.99.1 3.11.0 # x\n', '3\\.99\\.1'],
    ['mise.toml', '[tools]\npython = "3.99"\n', '3\\.99'],
    ['mise.toml', '[tools]\npython = ["3.99.1", "3.11"]\n', '3\\.99\\.1'],
    ['.mise.toml', '[tools]\npython = { version = "3.99", virtualenv = ".venv" }\n', '3\\.99'],
  ].map(([file = '', text = '', version]) => ({
    name: `${file} with ${JSON.stringify(text)}`,
    files: { 'app.py': '', [file]: text },
    code: PASS,
    says: new RegExp(`^python ${version} \\(${file.replaceAll('.', '\\.')}\\)$`),
  })),
  ...[
    ['.tool-versions', 'python system\n'],
    ['mise.toml', '[tools]\npython = "latest"\n'],
    ['mise.toml', 'no TOML\n'],
  ].map(([file = '', text = '']) => ({
    name: `${file} with ${JSON.stringify(text)}`,
    files: { 'app.py': '', [file]: text },
    code: PASS,
    says: /^python 3\.\d+$/,
  })),
  {
    name: 'two version files',
    files: { '.python-version': '3.98\n', 'runtime.txt': 'python-3.99.1\n' },
    code: PASS,
    says: /^python 3\.98 \(\.python-version\)\nnote: runtime\.txt asks for Python 3\.99\.1, but \.python-version asks for 3\.98\. The version of \.python-version is used/,
  },
  {
    name: 'a service.template that breaks the range',
    files: { 'service.template': 'type: python3.7\n', 'pyproject.toml': project('>=3.99') },
    code: PASS,
    says: /^python >=3\.99 \(pyproject\.toml\)\nnote: service\.template asks for Python 3\.7, but pyproject\.toml requires/,
  },
  {
    name: 'a virtual environment in the repository',
    files: { 'app.py': '', 'venv/pyvenv.cfg': '', 'www/python/venv/pyvenv.cfg': '' },
    code: PASS,
    says: /note: the virtual environment venv is not used, .*\nnote: the virtual environment www\/python\/venv is not used/,
  },
]) {
  test(`the python buildpack says whether it takes part, and which version of Python the tool asks for: ${name}`, async () => {
    await using source = await ASource.of(files);
    const result = await source.run('python', 'detect');
    assert.equal(result.code, code, result.output);
    assert.match(result.output, says);
  });
}

for (const { file, text, says } of [
  {
    file: '.python-version',
    text: '',
    says: '.python-version is empty. Write a version into it, such as 3.13, or delete it.',
  },
  { file: '.python-version', text: '# none\n\n', says: '.python-version is empty.' },
  {
    file: '.python-version',
    text: 'python-3.11\n',
    says: '.python-version line 1: "python-3.11" is not a version of Python. Write 3.11.',
  },
  {
    file: '.python-version',
    text: '\npython3.11\n',
    says: '.python-version line 2: "python3.11" is not a version of Python. Write 3.11.',
  },
  {
    file: '.python-version',
    text: '3.11.x\n',
    says: '.python-version line 1: "3.11.x" is not a version of Python. Write 3.11.',
  },
  {
    file: '.python-version',
    text: '3.09\n',
    says: '.python-version line 1: "3.09" is not a version of Python. Write 3.9.',
  },
  { file: '.python-version', text: 'latest\n', says: '"latest" is not a version of Python. Write 3.13.' },
  {
    file: '.python-version',
    text: '3.11\n3.12\n',
    says: '.python-version line 2 names a second version, "3.12". Write only one version.',
  },
  {
    file: '.python-version',
    text: '3.11 3.12\n',
    says: '.python-version line 1 names a second version, "3.12".',
  },
  {
    file: '.python-version',
    text: Buffer.from([0x33, 0x2e, 0xff, 0x0a]),
    says: '.python-version is not text in UTF-8. Save it as UTF-8.',
  },
  {
    file: '.python-version',
    text: '3.$(touch\thacked)`touch\thacked`\n',
    says: '.python-version line 1 names a second version, "hacked)`touch".',
  },
  {
    file: 'runtime.txt',
    text: '3.11.4\n',
    says: 'runtime.txt line 1: "3.11.4" is not a version of Python. Write python-3.11.',
  },
  {
    file: 'runtime.txt',
    text: 'python-2.7.18\n',
    says: 'runtime.txt line 1 asks for Python 2.7.18, which ended in 2020. Write python-3.13.',
  },
  {
    file: 'pyproject.toml',
    text: '[project\n',
    says: 'pyproject.toml is not valid TOML: Expected',
  },
  {
    file: 'pyproject.toml',
    text: '[project]\nname = "a"\nrequires-python = "three"\n',
    says: 'pyproject.toml line 3 asks for Python "three", which is not a version. Write for example ">=3.11".',
  },
  {
    file: 'Pipfile',
    text: '[requires]\npython_version = "3.x"\n',
    says: 'Pipfile line 2 asks for Python "3.x", which is not a version.',
  },
  {
    file: 'Pipfile.lock',
    text: '<<<<<<< HEAD\n',
    says: 'Pipfile.lock is not valid JSON: Expecting value: line 1',
  },
]) {
  test(`threat 66: a version file that cannot be used fails the build, and the error names the file: ${file} ${JSON.stringify(String(text))}`, async () => {
    await using source = await ASource.of({ [file]: text });
    const detected = await source.run('python', 'detect');
    assert.equal(detected.code, PASS, detected.output);
    const { code, output } = await source.run('python', 'build');
    assert.equal(code, 1, output);
    assert.ok(output.includes(says), output);
    assert.match(output, /^ ! {5}/);
    await assert.rejects(readFile(join(source.folder, 'hacked')), { code: 'ENOENT' });
  });
}

test('a version file that contradicts requires-python fails the build, and the error names both files', async () => {
  await using source = await ASource.of({ '.python-version': '3.11\n', 'pyproject.toml': project('>=3.12') });
  const { code, output } = await source.run('python', 'build');
  assert.equal(code, 1);
  assert.match(
    output,
    /\.python-version asks for Python 3\.11, but pyproject\.toml requires >=3\.12\. Change one of them\./,
  );
});

test('if the Python that .tool-versions names is not available, the build warns and uses the nearest available version', async () => {
  await using source = await ASource.of({ 'app.py': '', '.tool-versions': 'python 3.99.1\n' });
  const { code, output } = await source.run('python', 'build');
  assert.equal(code, 0, output);
  assert.match(
    output,
    / ! {5}\.tool-versions asks for Python 3\.99\.1, which is not available: python3\.\d+ is used\. Write 3\.\d+ there\./,
  );
});

test('a build deletes a virtual environment that is in the repository', async () => {
  await using source = await ASource.of({ 'app.py': '', '.venv/pyvenv.cfg': '', '.venv/lib/x.py': '' });
  const { code, output } = await source.run('python', 'build');
  assert.equal(code, 0, output);
  await assert.rejects(readFile(join(source.folder, '.venv/lib/x.py')), { code: 'ENOENT' });
});
