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

const source = process.env['UV_PYTHON_DOWNLOADS_JSON_URL'];

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
