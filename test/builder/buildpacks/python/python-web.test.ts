import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ASource } from '../run-buildpack.ts';

const FLASK = 'from flask import Flask\napp = Flask(__name__)\n';
const FASTAPI = 'import fastapi\napp = fastapi.FastAPI()\n';
const MANAGE =
  'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\nimport django\n';

/** Frameworks with a server of their own. */
const OWN = ['streamlit', 'gradio', 'panel', 'shiny', 'chainlit', 'marimo', 'sanic', 'aiohttp'];

/** Runs the build with programs in the virtual environment, and returns the web process. */
async function webOf(files: Record<string, string>, programs: readonly string[]) {
  await using source = await ASource.of(files);
  const venv = join(source.layers, 'venv');
  await mkdir(join(venv, 'bin'), { recursive: true });
  for (const program of programs) {
    await writeFile(join(venv, 'bin', program), '#!/bin/sh\n');
    await chmod(join(venv, 'bin', program), 0o755);
  }
  const packages = join(source.layers, 'packages');
  for (const name of [
    'flask',
    'fastapi',
    'django',
    'dash',
    'starlette',
    'bottle',
    'quart',
    'falcon',
    'fasthtml',
    ...OWN,
  ])
    await mkdir(join(packages, name), { recursive: true });
  const { code, output } = await source.run('python-web', 'build', {
    VIRTUAL_ENV: venv,
    PYTHONPATH: packages,
  });
  if (code !== 0) return { code, output, web: null };
  return { code, output, web: (await source.processes())['web']?.join(' ') };
}

for (const [text, file] of Object.entries({
  [FLASK]: 'app.py',
  'app: Flask = make()\n': 'app.py',
  'def app(environ, start_response):\n  pass\n': 'app.py',
  'class app:\n  pass\n': 'app.py',
  'from tool import application as app\n': 'app.py',
  'from tool import *\n': 'app.py',
  'try:\n  import x\nexcept ImportError:\n  app = 1\n': 'app.py',
  'if x:\n  pass\nelse:\n  server, app = make()\n': 'app.py',
  'this is no Python, and app\n': 'app.py',
  'import flask\ndef create_app():\n  return flask.Flask("a")\n': 'app.py',
  'import dash\napp = dash.Dash()\nserver = app.server\n': 'app.py',
  'import os\nport = os.environ["PORT"]\n': 'app.py',
  'import streamlit as st\nst.write("x")\n': 'app.py',
})) {
  test(`the python-web buildpack takes part if app.py has ${JSON.stringify(text)}`, async () => {
    await using source = await ASource.of({ 'app.py': text });
    const { code, output } = await source.run('python-web', 'detect');
    assert.equal(code, 0, output);
    assert.equal(output, `web process of ${file}`);
  });
}

for (const text of [
  'def make():\n  app = 1\n  return app\n',
  'print("app = 1")\n',
  'application = 1\n',
  'from celery import Celery\napp = Celery()\n',
  'import typer\napp = typer.Typer()\n',
  'import flask\ndef make():\n  pass\nif __name__ == "__main__":\n  app = make()\n',
  '',
]) {
  test(`the python-web buildpack does not take part if app.py has ${JSON.stringify(text)}`, async () => {
    await using source = await ASource.of({ 'app.py': text });
    const { code, output } = await source.run('python-web', 'detect');
    assert.equal(code, 100, output);
    assert.match(output, /^note: app\.py cannot be the web process/);
  });
}

for (const [name, files] of Object.entries({
  'a Procfile with web': { 'app.py': FLASK, Procfile: 'worker: x\n  web: gunicorn app:app\n' },
  'a Procfile with a byte order mark before web': { 'app.py': FLASK, Procfile: '\uFEFFweb: x\r\n' },
  'no Python file': { 'README.md': '' },
})) {
  test(`the python-web buildpack does not take part if the tool has ${name}`, async () => {
    await using source = await ASource.of(files);
    assert.equal((await source.run('python-web', 'detect')).code, 100);
  });
}

for (const { name, files, programs, web } of [
  { name: 'gunicorn', files: { 'app.py': FLASK }, programs: ['gunicorn'], web: 'gunicorn app:app' },
  {
    name: 'a Procfile without web',
    files: { 'app.py': FLASK, Procfile: 'worker: x\n' },
    programs: ['gunicorn'],
    web: 'gunicorn app:app',
  },
  {
    name: 'the folder of webservice',
    files: { 'www/python/src/app.py': 'app = 1\n', 'app.py': FLASK },
    programs: ['gunicorn'],
    web: 'gunicorn --chdir www/python/src app:app',
  },
  {
    name: 'Django',
    files: { 'manage.py': MANAGE, 'mysite/wsgi.py': '', 'other/wsgi.py': '' },
    programs: ['gunicorn'],
    web: 'gunicorn mysite.wsgi',
  },
  {
    name: 'Django in a folder below the top',
    files: { 'backend/manage.py': MANAGE, 'backend/mysite/wsgi.py': '' },
    programs: ['gunicorn'],
    web: 'gunicorn --chdir backend mysite.wsgi',
  },
  {
    name: 'Django with ASGI only',
    files: { 'manage.py': MANAGE, 'mysite/asgi.py': '' },
    programs: ['daphne'],
    web: 'bash -c exec daphne -b 0.0.0.0 -p $PORT mysite.asgi:application',
  },
  {
    name: 'FastAPI',
    files: { 'main.py': FASTAPI },
    programs: ['gunicorn', 'uvicorn'],
    web: 'bash -c exec uvicorn --host 0.0.0.0 --port $PORT main:app',
  },
  {
    name: 'FastAPI in a package',
    files: { 'app/__init__.py': '', 'app/main.py': FASTAPI },
    programs: ['uvicorn'],
    web: 'bash -c exec uvicorn --host 0.0.0.0 --port $PORT app.main:app',
  },
  {
    name: 'an application that another module makes',
    files: { 'main.py': 'from tool.web import app\n', 'tool/web.py': FASTAPI },
    programs: ['hypercorn'],
    web: 'bash -c exec hypercorn --bind 0.0.0.0:$PORT main:app',
  },
  {
    name: 'a Flask factory in a package',
    files: { 'flaskr/__init__.py': 'from flask import Flask\ndef create_app(test_config=None):\n  pass\n' },
    programs: ['gunicorn'],
    web: 'gunicorn flaskr:create_app()',
  },
  {
    name: '.flaskenv',
    files: { '.flaskenv': 'FLASK_APP=microblog.py\n', 'microblog.py': FLASK, 'app/__init__.py': FLASK },
    programs: ['gunicorn'],
    web: 'gunicorn microblog:app',
  },
  {
    name: 'wsgi.py with application',
    files: { 'wsgi.py': 'import bottle\napplication = bottle.default_app()\n' },
    programs: ['gunicorn'],
    web: 'gunicorn wsgi',
  },
  {
    name: 'the folder src',
    files: { 'src/app.py': FLASK },
    programs: ['gunicorn'],
    web: 'gunicorn --chdir src app:app',
  },
  {
    name: 'a script that listens on $PORT',
    files: { 'server.py': 'import os\nport = int(os.environ.get("PORT", 8000))\n' },
    programs: [],
    web: 'python3 -u server.py',
  },
  {
    name: 'Streamlit',
    files: { 'app.py': 'import streamlit\n' },
    programs: ['streamlit'],
    web: 'bash -c exec streamlit run app.py --server.address 0.0.0.0 --server.headless true --server.port $PORT',
  },
  {
    name: 'Streamlit in the only file that imports it',
    files: { 'Home.py': 'import streamlit\n', 'numbers_of_edits.py': '' },
    programs: ['streamlit'],
    web: 'bash -c exec streamlit run Home.py --server.address 0.0.0.0 --server.headless true --server.port $PORT',
  },
  {
    name: 'Gradio',
    files: { 'app.py': 'import gradio as gr\ngr.Interface(x).launch()\n' },
    programs: [],
    web: 'bash -c exec env GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=$PORT python3 -u app.py',
  },
  {
    name: 'Panel',
    files: { 'app.py': 'import panel as pn\npn.panel("x").servable()\n' },
    programs: [],
    web: 'bash -c exec panel serve app.py --address 0.0.0.0 --allow-websocket-origin \\* --port $PORT',
  },
  {
    name: 'Shiny',
    files: { 'src/app.py': 'from shiny import App\napp = App(ui, server)\n' },
    programs: [],
    web: 'bash -c exec shiny run src/app.py --host 0.0.0.0 --port $PORT',
  },
  {
    name: 'Chainlit',
    files: { 'app.py': 'import chainlit as cl\n@cl.on_message\nasync def main(m): pass\n' },
    programs: [],
    web: 'bash -c exec chainlit run app.py --headless --host 0.0.0.0 --port $PORT',
  },
  {
    name: 'Marimo',
    files: { 'app.py': 'import marimo\napp = marimo.App()\n' },
    programs: [],
    web: 'bash -c exec marimo run app.py --headless --host 0.0.0.0 --port $PORT',
  },
  {
    name: 'Sanic',
    files: { 'src/server.py': 'from sanic import Sanic\napp = Sanic("a")\n' },
    programs: ['gunicorn'],
    web: 'bash -c exec env PYTHONPATH=src sanic server:app --host 0.0.0.0 --port $PORT',
  },
  {
    name: 'aiohttp',
    files: { 'app.py': 'from aiohttp import web\napp = web.Application()\n' },
    programs: ['gunicorn'],
    web: 'gunicorn --worker-class aiohttp.GunicornWebWorker app:app',
  },
  {
    name: 'FastHTML',
    files: { 'main.py': 'from fasthtml.common import *\napp, rt = fast_app()\nserve()\n' },
    programs: ['uvicorn'],
    web: 'bash -c exec uvicorn --host 0.0.0.0 --port $PORT main:app',
  },
  {
    name: 'Falcon with ASGI',
    files: { 'app.py': 'import falcon.asgi\napp = falcon.asgi.App()\n' },
    programs: ['gunicorn', 'uvicorn'],
    web: 'bash -c exec uvicorn --host 0.0.0.0 --port $PORT app:app',
  },
  {
    name: 'the only web application at the top, in a file with any name',
    files: { 'hello.py': FLASK, 'bot.py': '', 'test_hello.py': FLASK, 'config.py': FLASK },
    programs: ['gunicorn'],
    web: 'gunicorn hello:app',
  },
  {
    name: 'a factory in a package of a package',
    files: {
      'quarry/web/app.py':
        'from .config import x\nfrom flask import Flask\ndef create_app(c=None):\n  pass\nif __name__ == "__main__":\n  application = create_app()\n',
    },
    programs: ['gunicorn'],
    web: 'gunicorn quarry.web.app:create_app()',
  },
  {
    name: 'a folder whose modules import each other by their own names',
    files: {
      'backend/main.py': `from database import db\nfrom routers import items\n${FASTAPI}`,
      ...{ 'backend/database.py': '', 'backend/routers/items.py': '' },
    },
    programs: ['uvicorn'],
    web: 'bash -c exec uvicorn --app-dir backend --host 0.0.0.0 --port $PORT main:app',
  },
  {
    name: 'a folder with a package',
    files: { 'backend/app/main.py': `from app.db import db\n${FASTAPI}`, 'backend/app/db.py': '' },
    programs: ['uvicorn'],
    web: 'bash -c exec uvicorn --app-dir backend --host 0.0.0.0 --port $PORT app.main:app',
  },
]) {
  test(`the python-web buildpack chooses the web process: ${name}`, async () => {
    const made = await webOf(files, programs);
    assert.equal(made.code, 0, made.output);
    assert.equal(made.web, web);
    assert.match(made.output, /web: .* \(add a Procfile to change it\)/);
  });
}

test('an aiohttp application without gunicorn is refused, and the error names the package to add', async () => {
  const { code, output } = await webOf(
    { 'app.py': 'from aiohttp import web\napp = web.Application()\n' },
    [],
  );
  assert.equal(code, 1);
  assert.match(
    output,
    /app\.py is an aiohttp application, which needs a server that listens on \$PORT\. Add gunicorn/,
  );
});

test('an application that starts a server when it is imported is refused with the line, unless it listens on $PORT', async () => {
  const blocking = await webOf({ 'app.py': `${FLASK}if 1:\n  app.run(debug=True)\n` }, ['gunicorn']);
  assert.equal(blocking.code, 1);
  assert.match(
    blocking.output,
    / ! {5}app\.py line 4 starts a server as soon as the file is imported, .*\. Put this line below `if __name__ == "__main__":`\.$/,
  );
  const onPort = `import os\n${FLASK}app.run(port=os.environ.get("PORT", 5000))\n`;
  assert.equal((await webOf({ 'app.py': onPort }, ['gunicorn'])).web, 'python3 -u app.py');
  const guarded = `${FLASK}if __name__ == "__main__":\n  app.run()\n`;
  assert.equal((await webOf({ 'app.py': guarded }, ['gunicorn'])).web, 'gunicorn app:app');
});

test('an ASGI application without a server is refused, and the error names a package to add', async () => {
  const { code, output } = await webOf({ 'main.py': FASTAPI }, ['gunicorn']);
  assert.equal(code, 1);
  assert.match(output, /main\.py is an ASGI application, which needs a server\. Add uvicorn/);
});

for (const { name, files, said } of [
  {
    name: 'but has no file that names packages',
    files: { 'www/python/src/app.py': 'import re, pymysql\ndef app(environ, start_response):\n  "\\d"\n' },
    said: / ! {5}www\/python\/src\/app\.py line 1 imports pymysql, but no file names the packages to install\. Make a file www\/python\/src\/requirements\.txt with pymysql and your other packages, one on each line\.$/m,
  },
  {
    name: 'but names packages only in a file that is not read',
    files: {
      'app.py': 'import pymysql\napp = 1\n',
      'requirements/dev.txt': '',
      'requirements/prod.txt': 'pymysql\n',
    },
    said: / ! {5}app\.py line 1 imports pymysql, but no file names the packages to install\. Make a file requirements\.txt with the line -r requirements\/prod\.txt$/m,
  },
  {
    name: 'that requirements.txt does not name',
    files: { 'app.py': `${FLASK}import MySQLdb\n`, 'requirements.txt': 'flask\n' },
    said: / ! {5}app\.py line 3 imports MySQLdb, but requirements\.txt does not name its package\. Add mysqlclient\.$/m,
  },
]) {
  test(`a Python web application is refused if it imports a package ${name}`, async () => {
    const { code, output } = await webOf(files, []);
    assert.equal(code, 1);
    assert.match(output, said);
    assert.doesNotMatch(output, /Warning/);
  });
}

test('an import of a module that Python has removed is refused, and so is an import of config if the repository has only config.py.example', async () => {
  const removed = await webOf({ 'app.py': `${FLASK}import binhex\n`, 'requirements.txt': 'flask\n' }, []);
  assert.match(
    removed.output,
    / ! {5}app\.py line 3 imports binhex, which Python 3\.\d+ no longer has\. Use another module/,
  );
  const example = {
    'app.py': `${FLASK}import config\n`,
    'requirements.txt': 'flask\n',
    'config.py.example': '',
  };
  assert.match(
    (await webOf(example, ['flask'])).output,
    /app\.py line \d+ imports config, but the repository has only config\.py\.example\. Commit a config\.py/,
  );
  const files = { 'app.py': 'import djangoo\napp = 1\n', 'requirements/djangoo_app.txt': '' };
  assert.match((await webOf(files, [])).output, /app\.py line 1 imports djangoo, but no file names/);
});

test('a Python import needs no package if the tool has the module itself, or catches the ImportError', async () => {
  const tries = 'try:\n  import simplejson as json\nexcept ImportError:\n  import json\n';
  const files = {
    'app.py': `import helpers\n${FLASK}${tries}`,
    'lib/helpers.py': '',
    'requirements.txt': 'flask\n',
  };
  const { code, output } = await webOf(files, ['gunicorn']);
  assert.equal(code, 0, output);
});

test('threat 66: the search for the web process of a Python tool runs no module of the tool', async () => {
  await using source = await ASource.of({
    'app.py': 'open("hacked", "w")\napp = 1\n',
    'ast.py': 'open("hacked", "w")\n',
    'sitecustomize.py': 'open("hacked", "w")\n',
  });
  assert.equal((await source.run('python-web', 'detect')).code, 0);
  assert.equal((await source.run('python', 'detect')).code, 0);
  await assert.rejects(readFile(join(source.folder, 'hacked')), { code: 'ENOENT' });
});

for (const { name, files, says } of [
  { name: 'MkDocs', files: { 'mkdocs.yml': 'site_name: Words\n' }, says: 'documentation (mkdocs.yml)' },
  {
    name: 'Sphinx beside a package',
    files: { 'docs/source/conf.py': "project = 'Words'\n", 'pyproject.toml': '[project]\nname = "words"\n' },
    says: 'documentation (docs/source/conf.py)',
  },
  { name: 'a conf.py of another program', files: { 'docs/conf.py': 'PORT = 1\n' }, says: null },
  {
    name: 'MkDocs beside a web application',
    files: { 'mkdocs.yml': '', 'app.py': 'import flask\napp = flask.Flask(__name__)\n' },
    says: null,
  },
  { name: 'MkDocs beside a Procfile', files: { 'mkdocs.yml': '', Procfile: 'web: ./x\n' }, says: null },
  { name: 'MkDocs beside another language', files: { 'mkdocs.yml': '', 'go.mod': 'module x\n' }, says: null },
]) {
  test(`the docs buildpack ${says === null ? 'does not take' : 'takes'} part: ${name}`, async () => {
    await using source = await ASource.of(files);
    const { code, output } = await source.run('docs', 'detect');
    assert.deepEqual([code, output], says === null ? [100, ''] : [0, says]);
  });
}
