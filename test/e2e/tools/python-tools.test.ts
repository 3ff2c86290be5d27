import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { pushFixture } from './push-fixture.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

for (const { fixture, says, answers } of [
  {
    fixture: 'uv-flask',
    says: /web: gunicorn --chdir src greeter:create_app\(\)/,
    answers: /^Hello from Flask and uv, development packages: False$/m,
  },
  {
    fixture: 'poetry-fastapi',
    says: /web: uvicorn --host 0\.0\.0\.0 --port \$PORT main:app/,
    answers: /^Hello from FastAPI and poetry, development packages: False$/m,
  },
  {
    fixture: 'pipenv-bottle',
    says: /Installing Pipfile\.lock with pipenv/,
    answers: /^Hello from Bottle and pipenv, development packages: False$/m,
  },
  {
    fixture: 'setup-py',
    says: /setup\.py has no lock file: the next build may install other versions/,
    answers: /^Hello from setup\.py$/m,
  },
  {
    fixture: 'c-extension',
    says: /web: uwsgi for app\.py/,
    answers: /^Hello from a C extension: MariaDB client \d/m,
  },
]) {
  test(`the sample tool ${fixture} is built and answers`, async () => {
    assert.match(await pushFixture(server, fixture), says);
    const { status, body } = await server.get(fixture);
    assert.equal(status, 200, body);
    assert.match(body, answers);
  });
}

test('a tool that asks for Python 3.13 is built and runs with this version', {
  skip:
    process.env['UV_PYTHON_DOWNLOADS_JSON_URL'] === undefined &&
    'needs UV_PYTHON_DOWNLOADS_JSON_URL with Python 3.13',
}, async () => {
  assert.match(await pushFixture(server, 'python-313'), /Using Python 3\.13/);
  assert.match((await server.get('python-313')).body, /^Hello from Python 3\.13$/m);
});
