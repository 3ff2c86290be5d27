import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';

const dockerfile = resolve(import.meta.dirname, '../../deploy/builder/build.Dockerfile');

/** Runs the step of build.Dockerfile that installs the buildpacks, in a temporary folder instead of an image. */
async function gather(buildpacks: Readonly<Record<string, string>>) {
  const root = await mkdtemp(join(tmpdir(), 'builder-image-'));
  try {
    for (const [name, text] of Object.entries(buildpacks)) {
      await mkdir(join(root, 'buildpacks', name), { recursive: true });
      await writeFile(join(root, 'buildpacks', name, 'buildpack.toml'), text);
    }
    await writeFile(join(root, 'buildpacks/order.toml'), '');
    await mkdir(join(root, 'cnb'));
    const [, step = ''] =
      /^RUN (set -eu; [\s\S]*?[^\\])\n(?!\s)/m.exec(await readFile(dockerfile, 'utf8')) ?? [];
    const here = step.replaceAll('\\\n', '').replace(/(?<=[ ">])\/(?=buildpacks|cnb)/g, `${root}/`);
    const { exitCode, stderr } = await execa('sh', ['-c', here], {
      env: { run_image: 'run' },
      reject: false,
    });
    const found = exitCode === 0 ? await readdir(join(root, 'cnb/buildpacks'), { recursive: true }) : [];
    return { exitCode, stderr, files: found.filter((name) => name.endsWith('.toml')).sort() };
  } finally {
    await rm(root, { recursive: true });
  }
}

test('the builder image has each buildpack where the CNB lifecycle looks, even if buildpack.toml has indented lines or apostrophes for quotes', async () => {
  const { files } = await gather({
    ours: 'api = "0.10"\n\n[buildpack]\nid = "toolforge/pip"\nversion = "0.1.0"\n',
    indented:
      'api = "0.7"\n\n[buildpack]\n  id = "paketo-buildpacks/procfile"\n  version = "5.6.7"\n  [[metadata.dependencies]]\n    id = "other"\n',
    apostrophes: "[buildpack]\nid = 'example/one'\nversion='2'\n",
  });
  assert.deepEqual(files, [
    'example_one/2/buildpack.toml',
    'paketo-buildpacks_procfile/5.6.7/buildpack.toml',
    'toolforge_pip/0.1.0/buildpack.toml',
  ]);
});

test('the builder image cannot be built with a buildpack that has no version', async () => {
  const { exitCode, stderr } = await gather({ nameless: '[buildpack]\nid = "example/one"\n' });
  assert.notEqual(exitCode, 0);
  assert.match(stderr, /no id or version in .*nameless\/buildpack\.toml/);
});
