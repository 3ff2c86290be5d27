import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { assertSampleTool, pushFixture } from './push-fixture.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

for (const sample of [
  {
    fixture: 'flask',
    says: /python 3\.\d+ \(service\.template\) · pip · web process of app\.py[\s\S]*web: gunicorn app:app/,
    again: /Reusing the installed packages: requirements\.txt has not changed/,
    answers: /Hello|Flask/i,
    runs: {
      command: 'gunicorn --check-config app:app && python -c "import flask; print(flask.__name__)"',
      prints: /^flask$/m,
    },
  },
  {
    fixture: 'flask-apt',
    says: /python 3\.\d+ \(service\.template\) · apt \(Aptfile\) · pip · web process of app\.py[\s\S]*web: gunicorn app:app/,
    again: /Reusing Debian packages: imagemagick, librsvg2-bin, tesseract-ocr, figlet/,
    answers:
      /convert and tesseract: made by convert\nrsvg-convert and tesseract: drawn by rsvg\nidentify: PNG 420x70\nfiglet:\n ____ +_/,
  },
  {
    fixture: 'uv-flask',
    says: /python 3\.\d+ \(pyproject\.toml\) · uv · web process of src\/greeter\/__init__\.py[\s\S]*web: gunicorn --chdir src greeter:create_app\(\)/,
    again: /Installing uv\.lock/,
    answers: /^Hello from Flask and uv, development packages: False$/m,
    runs: { command: 'greet', prints: /^Hello from a command$/m },
  },
  {
    fixture: 'poetry-fastapi',
    says: /python 3\.\d+ \(pyproject\.toml\) · poetry · web process of main\.py[\s\S]*web: uvicorn --host 0\.0\.0\.0 --port \$PORT main:app/,
    again: /Reusing the installed packages: poetry\.lock has not changed/,
    answers: /^Hello from FastAPI and poetry, development packages: False$/m,
  },
  {
    fixture: 'pipenv-bottle',
    says: /python 3\.\d+ · pipenv · Procfile \(web\)[\s\S]*Installing Pipfile\.lock with pipenv[\s\S]*web: waitress-serve --listen=\*:\$PORT server:application/,
    again: /Reusing the installed packages: Pipfile\.lock has not changed/,
    answers: /^Hello from Bottle and pipenv, development packages: False$/m,
  },
  {
    fixture: 'setup-py',
    says: /python 3\.\d+ \(setup\.py\) · pip \(setup\.py\) · Procfile \(web\)[\s\S]*setup\.py has no lock file: the next build may install other versions[\s\S]*web: hello-tool/,
    again: /Installing setup\.py/,
    answers: /^Hello from setup\.py$/m,
    runs: { command: 'type hello-tool', prints: /^hello-tool is \/layers/m },
  },
  {
    fixture: 'c-extension',
    says: /python 3\.\d+ · apt \(Aptfile\) · pip · web process of app\.py[\s\S]*web: uwsgi for app\.py/,
    again: /Reusing the installed packages/,
    answers: /^Hello from a C extension: MariaDB client \d/m,
  },
  {
    fixture: 'django-15',
    says: /python 3\.\d+ \(service\.template\) · pip · django · Procfile \(web\)[\s\S]*web: gunicorn --workers 2 site_of_tools\.wsgi/,
    again: /Reusing the installed packages/,
    answers: /./,
    runs: {
      command: 'gunicorn --check-config site_of_tools.wsgi && ls collected',
      prints: /site\.css/,
    },
  },
]) {
  test(`the sample tool ${sample.fixture} is built twice with packages of the real registries, and answers`, async () => {
    await assertSampleTool(server, sample);
  });
}

test('a tool that asks for Python 3.13 is built and runs with this version, which the second build does not install again', {
  skip:
    process.env['UV_PYTHON_DOWNLOADS_JSON_URL'] === undefined &&
    'needs UV_PYTHON_DOWNLOADS_JSON_URL with Python 3.13',
}, async () => {
  const { first, second } = await pushFixture(server, 'python-313');
  assert.match(first, /python 3\.13 \(\.python-version\)[\s\S]*Using Python 3\.13/);
  assert.doesNotMatch(second, /Installing cpython/);
  assert.match((await server.get('python-313')).body, /^Hello from Python 3\.13$/m);
});

test('a tool with uWSGI: its second build reuses uWSGI, a module that cannot be loaded is refused with the Python error, and a uWSGI of requirements.txt runs with uwsgi.ini', async () => {
  const { tree, first, second } = await pushFixture(server, 'seed-example');
  assert.match(first, /python 3\.\d+ \(service\.template\) · pip · web process of www\/python\/src\/app\.py/);
  assert.match(second, /Reusing uWSGI 2\.\d+/);
  assert.match((await server.get('seed-example')).body, /^Hello from uWSGI at \/$/m);

  await tree.commit('broken', { 'www/python/src/app.py': 'from flask import no_such_name\napp = None\n' });
  const broken = await tree.push();
  assert.notEqual(broken.exitCode, 0);
  assert.match(
    broken.stderr,
    /rollout failed: web\.1 exited with code 22: ImportError: cannot import name 'no_such_name'.*; v\d+ is still live/,
  );
  assert.match((await server.get('seed-example')).body, /^Hello from uWSGI/);

  await tree.git('reset', '--quiet', '--hard', 'HEAD~1');
  await tree.commit('its own', {
    'requirements.txt': 'Flask==3.1.3\npyuwsgi==2.0.29\n',
    'www/python/uwsgi.ini': '[uwsgi]\nthreads = 3\n',
  });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.match(pushed.stderr, /Using the uWSGI 2\.0\.29 of the requirements/);
  assert.match((await server.get('seed-example')).body, /^Hello from uWSGI/);
  // The process ends cleanly when the tool is stopped.
  const logs = async () => (await server.command('logs', 'seed-example', '-p', 'web')).stdout;
  assert.match(await logs(), /spawned uWSGI worker 4 \(pid: \d+, cores: 3\)/);
  await server.command('stop', 'seed-example');
  assert.match(await logs(), /goodbye to uWSGI\.\s*$/);
});
