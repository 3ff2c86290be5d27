import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { productBuildpacks } from '../../support/a-builder.ts';
import { ASource } from '../run-buildpack.ts';

const INSTALLERS = ['pip', 'uv', 'poetry', 'pipenv'];

for (const { name, files, says } of [
  { name: 'requirements.txt', files: { 'requirements.txt': '' }, says: ['pip'] },
  {
    name: 'requirements.txt in the folder of webservice',
    files: { 'www/python/src/requirements.txt': '' },
    says: ['pip (www/python/src/requirements.txt)'],
  },
  {
    name: 'two requirements.txt',
    files: { 'www/python/src/requirements.txt': '', 'requirements.txt': '' },
    says: ['pip', 'note: the packages come from requirements.txt. Not used: www/python/src/requirements.txt'],
  },
  {
    name: 'pyproject.toml with a project',
    files: { 'pyproject.toml': '\uFEFF[project]\r\nname = "x"\n' },
    says: ['pip (pyproject.toml)'],
  },
  { name: 'pyproject.toml with tool settings only', files: { 'pyproject.toml': '[tool.black]\n' }, says: [] },
  { name: 'setup.py', files: { 'setup.py': '' }, says: ['pip (setup.py)'] },
  { name: 'pylock.toml', files: { 'pylock.toml': '', 'pyproject.toml': '[project]\n' }, says: ['pip'] },
  {
    name: 'requirements.txt in src',
    files: { 'src/requirements.txt': '', 'pyproject.toml': '[tool.black]\n' },
    says: ['pip (src/requirements.txt)'],
  },
  { name: 'setup.cfg', files: { 'setup.cfg': '[options]\n' }, says: ['pip (setup.cfg)'] },
  { name: 'setup.cfg with tool settings only', files: { 'setup.cfg': '[flake8]\n' }, says: [] },
  { name: 'uv.lock', files: { 'uv.lock': '', 'pyproject.toml': '[project]\n' }, says: ['uv'] },
  {
    name: 'poetry.lock',
    files: { 'poetry.lock': '', 'pyproject.toml': '[project]\n[tool.poetry]\n' },
    says: ['poetry'],
  },
  {
    name: 'poetry without a lock file',
    files: { 'pyproject.toml': '[tool.poetry]\n' },
    says: ['poetry (pyproject.toml)'],
  },
  { name: 'Pipfile.lock', files: { Pipfile: '', 'Pipfile.lock': '{}' }, says: ['pipenv'] },
  { name: 'Pipfile', files: { Pipfile: '' }, says: ['pipenv (Pipfile)'] },
  {
    name: 'poetry.lock and uv.lock in a project of poetry',
    files: { 'poetry.lock': '', 'uv.lock': '', 'pyproject.toml': '[tool.poetry]\n' },
    says: ['poetry', 'note: the packages come from poetry.lock. Not used: uv.lock'],
  },
  {
    name: 'poetry.lock and uv.lock in a project that has left poetry',
    files: { 'poetry.lock': '', 'uv.lock': '', 'pyproject.toml': '[project]\n' },
    says: ['uv', 'note: the packages come from uv.lock. Not used: poetry.lock'],
  },
  {
    name: 'requirements.txt beside a lock file, as on Heroku',
    files: { 'requirements.txt': '', 'poetry.lock': '', 'pyproject.toml': '[tool.poetry]\n' },
    says: ['pip', 'note: the packages come from requirements.txt. Not used: poetry.lock'],
  },
  {
    name: 'Pipfile.lock beside requirements.txt, as on Heroku',
    files: { 'requirements.txt': '', Pipfile: '', 'Pipfile.lock': '{}' },
    says: ['pipenv', 'note: the packages come from Pipfile.lock. Not used: requirements.txt'],
  },
]) {
  test(`at most one of the Python installers takes part in a build, and prints its name and the files that are not used: ${name}`, async () => {
    await using source = await ASource.of(files);
    const said: string[] = [];
    for (const installer of INSTALLERS) {
      const { code, output } = await source.run(installer, 'detect');
      assert.equal(code, output === '' ? 100 : 0, output);
      if (code === 0) said.push(...output.split('\n'));
    }
    assert.deepEqual(said, says);
  });
}

for (const { installer, files, says } of [
  {
    installer: 'uv',
    files: { 'uv.lock': '' },
    says: 'uv.lock belongs to a pyproject.toml, which is not in the repository. Commit pyproject.toml too.',
  },
  {
    installer: 'uv',
    files: {
      'pyproject.toml': '[project]\nname = "a"\ndependencies = ["flask>=3", "Requests_Thing"]\n',
      'uv.lock':
        'version = 1\n[[package]]\nname = "a"\nversion = "0"\nsource = { virtual = "." }\ndependencies = [{ name = "flask" }]\n',
    },
    says: 'uv.lock does not match pyproject.toml: it lacks Requests_Thing. Run `uv lock` and commit uv.lock.',
  },
  {
    installer: 'uv',
    files: { 'pyproject.toml': '[project]\nname = "a"\n', 'uv.lock': '<<<<<<< HEAD\n' },
    says: 'uv.lock is not valid TOML: ',
  },
  {
    installer: 'poetry',
    files: { 'poetry.lock': '' },
    says: 'poetry.lock belongs to a pyproject.toml, which is not in the repository. Commit pyproject.toml too.',
  },
  {
    installer: 'pipenv',
    files: { 'Pipfile.lock': '{}' },
    says: 'Pipfile.lock belongs to a Pipfile, which is not in the repository. Commit the Pipfile too.',
  },
]) {
  test(`the ${installer} buildpack refuses a tool with ${Object.keys(files).join(' and ')}, and says why: ${says.slice(0, 60)}`, async () => {
    await using source = await ASource.of(files);
    const { code, output } = await source.run(installer, 'build');
    assert.equal(code, 1, output);
    assert.ok(output.includes(` !     ${says}`), output);
  });
}

test('in a running tool, `uv run`, `poetry run`, `pipenv run` and `pdm run` only run the given command, because the packages are already installed', async () => {
  await using source = await ASource.of({ 'app.py': 'import sys\nprint("ran", *sys.argv[1:])\n' });
  const script = 'source lib/packages.sh; venv=$0; add_runners; cat "$venv/env.launch/PATH.append"';
  const cwd = join(productBuildpacks, 'pip');
  const env = { CNB_BUILDPACK_DIR: cwd, CNB_LAYERS_DIR: source.layers };
  const { stdout: folder } = await execa('bash', ['-euo', 'pipefail', '-c', script, source.layers], {
    cwd,
    env,
  });
  // A running tool has the `python` of its virtual environment.
  await mkdir(join(source.layers, 'bin'));
  await symlink('/usr/bin/python3', join(source.layers, 'bin/python'));
  const launched = { PATH: `${source.layers}/bin:/usr/bin:/bin` };
  const run = async (name: string, ...words: string[]) => {
    const options = {
      cwd: source.folder,
      env: launched,
      extendEnv: false,
      all: true,
      reject: false,
    } as const;
    return (await execa(join(folder, name), words, options)).all;
  };
  assert.equal(await run('uv', 'run', '--no-dev', '--extra', 'web', 'echo', '-n', 'a b'), 'a b');
  assert.equal(await run('uv', 'run', 'app.py', '--port', '1'), 'ran --port 1');
  assert.equal(await run('uv', 'run', '-m', 'app', 'x'), 'ran x');
  for (const name of ['poetry', 'pipenv', 'pdm']) assert.equal(await run(name, 'run', 'echo', 'a'), 'a');
  assert.match(await run('poetry', 'install'), /poetry installs packages only in builds/);
});
