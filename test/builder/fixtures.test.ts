import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { launchEnvironment } from '../../src/builder/buildpack-api/launch-environment.ts';
import type { Artifact } from '../../src/core/types.ts';
import type { Mount } from '../../src/sandbox/sandbox.ts';
import { ABuilder, fixtures, registryEnvironment } from './support/a-builder.ts';

/** Runs a program as the runtime would run a process of the artifact, but the program cannot write the files of the artifact. */
async function runIn(builder: ABuilder, artifact: Artifact, argv: readonly string[]): Promise<string> {
  const { sandbox } = builder;
  const [workspace, layers] = ['workspace', 'layers'].map((name) => ({
    source: join(artifact.reference, name),
    target: `/${name}`,
    isWritable: false,
  })) as [Mount, Mount];
  const child = sandbox.start({
    name: 'a look inside',
    argv,
    env: await launchEnvironment({
      layersFolder: layers.source,
      layersPath: sandbox.path(layers),
      buildpacks: artifact.buildpacks.map((entry) => entry.split(' ')[0] ?? ''),
      processType: 'web',
      base: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/tmp', LANG: 'C.UTF-8', PORT: '8000' },
    }),
    cwd: sandbox.path(workspace),
    mounts: [workspace, layers],
    tree: null,
    toolNumber: 1,
    // V8 alone reserves about 600 MiB of address space.
    limits: { processes: 128, memoryBytes: 1024 * 1024 * 1024, fileBytes: 1024 * 1024 },
    publish: null,
  });
  const output = await text(child.output);
  const { code } = await child.exited;
  assert.equal(code, 0, output);
  return output;
}

const first = (artifact: Artifact) => artifact.processes.map(({ type, command }) => [type, ...command]);

for (const { fixture, seen, processes, again, look, prints } of [
  {
    fixture: 'flask',
    seen: 'python 3.11 (service.template) · pip · web process of app.py',
    processes: [['web', 'gunicorn', 'app:app']],
    again: /Reusing the installed packages: requirements\.txt has not changed/,
    look: [
      'bash',
      '-c',
      'gunicorn --check-config app:app && python -c "import flask; print(flask.__name__)"',
    ],
    prints: /^flask$/m,
  },
  {
    fixture: 'flask-apt',
    seen: 'python 3.11 (service.template) · apt (Aptfile) · pip · web process of app.py',
    processes: [['web', 'gunicorn', 'app:app']],
    again: /Reusing Debian packages: imagemagick, librsvg2-bin, tesseract-ocr, figlet/,
    look: ['python3', '-c', 'import app; print(app.index()[0])'],
    prints:
      /convert and tesseract: made by convert\nrsvg-convert and tesseract: drawn by rsvg\nidentify: PNG 420x70\nfiglet:\n ____ +_/,
  },
  {
    fixture: 'seed-example',
    seen: 'python 3.11 (service.template) · pip · web process of www/python/src/app.py',
    processes: null,
    again: /Reusing uWSGI 2\.\d+/,
    look: ['uwsgi', '--version'],
    prints: /^2\.\d+/m,
  },
  {
    fixture: 'uv-flask',
    seen: 'python 3.11 (pyproject.toml) · uv · web process of src/greeter/__init__.py',
    processes: [['web', 'gunicorn', '--chdir', 'src', 'greeter:create_app()']],
    again: /Installing uv\.lock/,
    look: [
      'bash',
      '-c',
      'greet && python -c "import greeter; print(greeter.create_app().test_client().get(chr(47)).text)"',
    ],
    prints: /^Hello from a command\nHello from Flask and uv, development packages: False$/m,
  },
  {
    fixture: 'poetry-fastapi',
    seen: 'python 3.11 (pyproject.toml) · poetry · web process of main.py',
    processes: [['web', 'bash', '-c', 'exec uvicorn --host 0.0.0.0 --port $PORT main:app']],
    again: /Reusing the installed packages: poetry\.lock has not changed/,
    look: ['python', '-c', 'import main; print(main.index())'],
    prints: /^Hello from FastAPI and poetry, development packages: False$/m,
  },
  {
    fixture: 'pipenv-bottle',
    seen: 'python 3.11 · pipenv · Procfile (web)',
    processes: [['web', 'bash', '-c', 'waitress-serve --listen=*:$PORT server:application']],
    again: /Reusing the installed packages: Pipfile\.lock has not changed/,
    look: ['python', '-c', 'import server; print(server.index())'],
    prints: /^Hello from Bottle and pipenv, development packages: False$/m,
  },
  {
    fixture: 'setup-py',
    seen: 'python 3.11 (setup.py) · pip (setup.py) · Procfile (web)',
    processes: [['web', 'bash', '-c', 'hello-tool']],
    again: /Installing setup\.py/,
    look: ['bash', '-c', 'type hello-tool'],
    prints: /^hello-tool is \/layers/m,
  },
  {
    fixture: 'c-extension',
    seen: 'python 3.11 · apt (Aptfile) · pip · web process of app.py',
    processes: null,
    again: /Reusing the installed packages/,
    look: ['python', '-c', 'import app; print(app.index())'],
    prints: /^Hello from a C extension: MariaDB client \d/m,
  },
  {
    fixture: 'node-express',
    seen: 'node >=22 (package.json) · npm',
    processes: [['web', 'npm', 'start']],
    again: /Reusing Node 24\.\d+\.\d+[\s\S]*Reusing the installed packages: the lock file has not changed/,
    look: [
      'node',
      '--input-type=module',
      '-e',
      'import express from "express"; console.log(process.env.NODE_ENV, typeof express)',
    ],
    prints: /^production function$/m,
  },
  {
    fixture: 'static-site',
    seen: 'static site (index.html)',
    processes: null,
    again: /Serving 5 files/,
    look: ['python3', '-c', 'print(open("index.html").read())'],
    prints: /Hello from a static site/,
  },
  {
    fixture: 'web-and-worker',
    seen: 'python 3.11 · Procfile (web worker)',
    processes: [
      ['web', 'bash', '-c', 'python3 app.py'],
      ['worker', 'bash', '-c', 'python3 -u worker.py --every 1'],
    ],
    again: /Using Python 3\.\d+/,
    look: ['python3', '-c', 'import sys; print(sys.version_info[0])'],
    prints: /^3$/m,
  },
  {
    fixture: 'django-15',
    seen: 'python 3.11 (service.template) · pip · django · Procfile (web)',
    processes: [['web', 'bash', '-c', 'gunicorn --workers 2 site_of_tools.wsgi']],
    again: /Reusing the installed packages/,
    look: ['bash', '-c', 'gunicorn --check-config site_of_tools.wsgi && ls collected'],
    prints: /site\.css/,
  },
]) {
  test(`two builds of the sample tool ${fixture} with the real registries give the same processes, and a program runs after each build`, async () => {
    await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
    const artifact = await builder.build(join(fixtures, fixture));
    // The exact Python depends on the machine.
    assert.ok(builder.said.replace(/python 3\.\d+/, 'python 3.11').includes(seen), builder.said);
    if (processes !== null) assert.deepEqual(first(artifact), processes);
    assert.deepEqual(
      artifact.processes.filter((process) => process.isDefault).map((process) => process.type),
      ['web'],
    );
    assert.match(await runIn(builder, artifact, look), prints);
    const second = await builder.build(join(fixtures, fixture));
    assert.match(builder.said, again);
    assert.deepEqual(first(second), first(artifact));
    assert.match(await runIn(builder, second, look), prints);
  });
}

const source = process.env['UV_PYTHON_DOWNLOADS_JSON_URL'];

test('a tool whose .python-version asks for Python 3.13 runs with this Python, which the second build does not install again', {
  skip: source === undefined && 'needs UV_PYTHON_DOWNLOADS_JSON_URL with Python 3.13',
}, async () => {
  await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  const artifact = await builder.build(join(fixtures, 'python-313'));
  assert.match(builder.said, /python 3\.13 \(\.python-version\)/);
  const look = ['python3', '-c', 'import app; print(*app.app({}, lambda *_: None))'];
  assert.match(await runIn(builder, artifact, look), /Hello from Python 3\.13/);
  const second = await builder.build(join(fixtures, 'python-313'));
  assert.doesNotMatch(builder.said, /Installing cpython/);
  assert.match(await runIn(builder, second, look), /Hello from Python 3\.13/);
});

test('a Python version that is not available is refused before anything is installed, and the error names the available versions', {
  skip: source === undefined && 'needs UV_PYTHON_DOWNLOADS_JSON_URL without Python 3.14',
}, async () => {
  await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  const files = { '.python-version': '3.99\n', Aptfile: 'figlet\n', 'requirements.txt': 'flask\n' };
  await assert.rejects(
    builder.build(join(fixtures, 'flask'), {
      checkOut: async (folder) => {
        for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
      },
    }),
    {
      message:
        /^python exited 1: \.python-version asks for Python 3\.99, which is not available\. Write one of these versions there: 3\.\d+/,
    },
  );
  assert.doesNotMatch(builder.said, /figlet|flask/i);
});

test('a Flask tool can also be built without isolation, and its second build reuses the installed packages', async () => {
  await using builder = await ABuilder.open({
    sandbox: 'trusted',
    limits: { build_environment: registryEnvironment },
  });
  await builder.build(join(fixtures, 'flask'));
  const second = await builder.build(join(fixtures, 'flask'));
  assert.match(builder.said, /Reusing the installed packages/);
  await runIn(builder, second, ['gunicorn', '--check-config', 'app:app']);
});

test('a requirement with a version that does not exist fails the build; the reason names pip and the requirement, which is also in the output', async () => {
  await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  await assert.rejects(
    builder.build(join(fixtures, 'flask'), {
      checkOut: async (folder) => {
        await writeFile(join(folder, 'requirements.txt'), 'flask==0.0.0.0.1\n');
      },
    }),
    {
      code: 'BUILD_FAILED',
      message: 'pip exited 1: there is no version of flask==0.0.0.0.1 and you require flask==0.0.0.0.1',
    },
  );
  assert.match(builder.said, /flask==0\.0\.0\.0\.1/);
});
