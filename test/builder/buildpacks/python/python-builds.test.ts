import assert from 'node:assert/strict';
import { appendFile, cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ABuilder, fixtures, registryEnvironment } from '../../support/a-builder.ts';

let builder: ABuilder;
before(async () => {
  builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
});
after(async () => builder[Symbol.asyncDispose]());

/** Builds a fixture after a change of its files. @returns what it said, plus `REFUSED` and the error if it failed. */
async function buildChanged(fixture: string, change: (folder: string) => Promise<unknown>): Promise<string> {
  try {
    await builder.build(fixture, {
      checkOut: async (folder) => {
        await cp(join(fixtures, fixture), folder, { recursive: true });
        await change(folder);
      },
    });
  } catch (error) {
    return `${builder.said}\nREFUSED ${String(error)}`;
  }
  return builder.said;
}

for (const { name, fixture, change, says } of [
  {
    name: 'a poetry.lock that is older than pyproject.toml',
    fixture: 'poetry-fastapi',
    change: async (folder: string) => {
      const path = join(folder, 'pyproject.toml');
      const text = await readFile(path, 'utf8');
      await writeFile(path, text.replace('fastapi =', 'requests = "*"\nfastapi ='));
    },
    says: /REFUSED .*poetry exited 1: .*pyproject\.toml changed significantly since poetry\.lock was last generated/,
  },
  {
    name: 'a Pipfile.lock that is older than Pipfile',
    fixture: 'pipenv-bottle',
    change: async (folder: string) => {
      const path = join(folder, 'Pipfile');
      await writeFile(path, (await readFile(path, 'utf8')).replace('bottle =', 'requests = "*"\nbottle ='));
    },
    says: /REFUSED .*pipenv exited 1: Pipfile\.lock does not match Pipfile\. Run `pipenv lock`/,
  },
  {
    name: 'a package whose content is not what Pipfile.lock says',
    fixture: 'pipenv-bottle',
    change: async (folder: string) => {
      const path = join(folder, 'Pipfile.lock');
      const text = await readFile(path, 'utf8');
      await writeFile(path, text.replaceAll(/sha256:[0-9a-f]{64}/g, `sha256:${'0'.repeat(64)}`));
    },
    says: /REFUSED .*pipenv exited 1: Failed to download `(bottle|waitress)==[\d.]+`: Hash mismatch for `(bottle|waitress)==/,
  },
  {
    name: 'a uv.lock that is older than pyproject.toml',
    fixture: 'uv-flask',
    change: async (folder: string) => {
      const path = join(folder, 'pyproject.toml');
      await writeFile(
        path,
        (await readFile(path, 'utf8')).replace('"flask>=3.1"', '"flask>=3.1", "requests"'),
      );
    },
    says: /REFUSED .*uv exited 1: uv\.lock does not match pyproject\.toml: it lacks requests/,
  },
  {
    name: 'requirements that exclude each other',
    fixture: 'flask',
    change: (folder: string) => writeFile(join(folder, 'requirements.txt'), 'flask==2.0\nwerkzeug<2\n'),
    says: /REFUSED .*pip exited \d: flask==2\.0\.0 depends on werkzeug>=2\.0 and you require flask==2\.0, and you require werkzeug<2/,
  },
  {
    name: 'a line that is not a requirement',
    fixture: 'flask',
    change: (folder: string) => appendFile(join(folder, 'requirements.txt'), '\nfoo bar baz\n'),
    says: /REFUSED .*pip exited \d: `requirements\.txt`: “foo bar baz” is not a requirement/,
  },
  {
    name: 'an ASGI application without a server',
    fixture: 'flask',
    change: async (folder: string) => {
      await writeFile(join(folder, 'requirements.txt'), 'starlette\n');
      await writeFile(
        join(folder, 'app.py'),
        'from starlette.applications import Starlette\napp = Starlette()\n',
      );
    },
    says: /REFUSED .*python-web exited 1: app\.py is an ASGI application, which needs a server/,
  },
]) {
  test(`a Python tool is refused with the cause: ${name}`, async () => {
    assert.match(await buildChanged(fixture, change), says);
  });
}

for (const { name, fixture, change, says } of [
  {
    name: 'poetry without poetry.lock',
    fixture: 'poetry-fastapi',
    change: (folder: string) => rm(join(folder, 'poetry.lock')),
    says: /There is no poetry\.lock: the next build may install other versions[\s\S]*\+ fastapi==0\.115/,
  },
  {
    name: 'pipenv without Pipfile.lock',
    fixture: 'pipenv-bottle',
    change: (folder: string) => rm(join(folder, 'Pipfile.lock')),
    says: /There is no Pipfile\.lock: the next build may install other versions[\s\S]*\+ bottle==/,
  },
  {
    name: 'setup.cfg alone',
    fixture: 'flask',
    change: async (folder: string) => {
      await rm(join(folder, 'requirements.txt'));
      const options = '[options]\npy_modules = app\ninstall_requires = flask\n';
      await writeFile(join(folder, 'setup.cfg'), `[metadata]\nname = hello\n${options}`);
    },
    says: /\+ flask==[\s\S]*setup\.cfg has no lock file/,
  },
  {
    name: 'pkg_resources, with a setuptools that no longer has it',
    fixture: 'flask',
    change: async (folder: string) => {
      await writeFile(join(folder, 'plugin.py'), 'import pkg_resources\n');
      await appendFile(join(folder, 'requirements.txt'), '\nsetuptools>=82\n');
    },
    says: /pkg_resources is imported: setuptools<81 is installed[\s\S]*\+ setuptools==80/,
  },
  {
    name: 'a Django project whose settings need a config var',
    fixture: 'django-15',
    change: (folder: string) =>
      appendFile(
        join(folder, 'site_of_tools/settings.py'),
        '\nimport os\nTOKEN = os.environ["WIKI_TOKEN"]\n',
      ),
    says: /collectstatic failed, so the tool has no collected static files\. The settings need WIKI_TOKEN: set it with `config set WIKI_TOKEN=VALUE`/,
  },
]) {
  test(`a Python tool is built with a warning: ${name}`, async () => {
    const said = await buildChanged(fixture, change);
    assert.doesNotMatch(said, /REFUSED/);
    assert.match(said, says);
  });
}

test('all artifacts share the files of a Python that uv installs, even after a build without the cache', {
  skip:
    process.env['UV_PYTHON_DOWNLOADS_JSON_URL'] === undefined &&
    'needs UV_PYTHON_DOWNLOADS_JSON_URL with Python 3.13',
}, async () => {
  const files: string[] = [];
  for (const useCache of [true, false, true]) {
    const { reference } = await builder.build(join(fixtures, 'python-313'), { useCache });
    const version = join(reference, 'layers/toolforge_python/python/versions');
    const [name = ''] = await readdir(version);
    files.push(join(version, name, 'lib/python3.13/os.py'));
  }
  const inodes = await Promise.all(files.map(async (file) => (await stat(file)).ino));
  assert.equal(new Set(inodes).size, 1, inodes.join());
});
