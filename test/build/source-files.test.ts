import assert from 'node:assert/strict';
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { procfileWarnings } from '../../src/build/procfile.ts';
import { readServiceTemplate } from '../../src/build/service-template.ts';
import { sourceWarnings } from '../../src/build/source-warnings.ts';
import { removeTree } from '../../src/sandbox/remove.ts';

const made: string[] = [];
after(async () => {
  for (const folder of made) await removeTree(folder);
});

async function sourceOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'source-'));
  made.push(folder);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

for (const { name, text, path, warning } of [
  {
    name: 'a path',
    text: 'type: python3.11\nhealth-check-path: /healthz\n',
    path: '/healthz',
    warning: null,
  },
  { name: 'no path', text: 'type: python3.11\nreplicas: 1\nmount: none\n', path: null, warning: null },
  { name: 'an empty file', text: '', path: null, warning: null },
  { name: 'an unknown key', text: 'helth: /x\n', path: null, warning: /unknown keys: helth/ },
  { name: 'a path without /', text: 'health-check-path: healthz\n', path: null, warning: /begin with \// },
  {
    name: 'a path with a line break',
    text: 'health-check-path: "/a\\r\\nX: y"\n',
    path: null,
    warning: /not used/,
  },
  { name: 'a number for a path', text: 'health-check-path: 8\n', path: null, warning: /not used/ },
  { name: 'a list', text: '- a\n', path: null, warning: /key: value/ },
  { name: 'no YAML', text: 'a: [', path: null, warning: /not valid YAML/ },
  {
    name: 'a YAML bomb (threat 66)',
    text: `a0: &a0 [x]\n${Array.from({ length: 40 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n},*a${n},*a${n}]`).join('\n')}\n`,
    path: null,
    warning: /not valid YAML/,
  },
  { name: 'a huge file (threat 66)', text: `type: ${'x'.repeat(70_000)}\n`, path: null, warning: /not used/ },
]) {
  test(`service.template: ${name}`, async () => {
    const { settings, warnings } = await readServiceTemplate(await sourceOf({ 'service.template': text }));
    assert.equal(settings.healthCheckPath, path);
    if (warning === null) assert.deepEqual(warnings, []);
    else assert.match(warnings.join('\n'), warning);
  });
}

test('threat 39: a service.template that is a link is not read', async () => {
  const secret = await sourceOf({ file: 'health-check-path: /stolen\n' });
  const source = await sourceOf({});
  await symlink(join(secret, 'file'), join(source, 'service.template'));
  assert.deepEqual(await readServiceTemplate(source), { settings: { healthCheckPath: null }, warnings: [] });
});

for (const { name, text, warnings } of [
  { name: 'good lines', text: '# note\nweb: a\n\nworker-2: b c\r\n', warnings: [] },
  { name: 'no process', text: 'web a\n', warnings: ['Line 1'] },
  { name: 'upper case', text: 'web: a\nWorker: b\n', warnings: ['Line 2'] },
  { name: 'twice', text: 'web: a\nweb: b\n', warnings: ['Line 2'] },
  { name: 'empty command', text: 'web:  \n', warnings: ['Line 1'] },
]) {
  test(`Procfile warnings: ${name}`, async () => {
    const found = await procfileWarnings(await sourceOf({ Procfile: text }));
    assert.deepEqual(
      found.map((line) => line.slice(0, 6)),
      warnings,
    );
  });
}

test('threat 41: submodules, LFS pointers and links that lead out are told', async () => {
  const source = await sourceOf({
    '.gitmodules': '[submodule "x"]\n',
    '.gitattributes': '*.bin filter=lfs\n',
    'big.bin': 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n',
    'real.bin': 'data',
  });
  await mkdir(join(source, 'folder'));
  await symlink('../real.bin', join(source, 'folder/inside'));
  await symlink('../../etc/passwd', join(source, 'folder/outside'));
  await symlink('/etc/passwd', join(source, 'absolute'));
  const warnings = await sourceWarnings(source);
  assert.equal(warnings.length, 3);
  assert.match(warnings[0] ?? '', /Submodules/);
  assert.match(warnings[1] ?? '', /LFS.*: big\.bin\./);
  assert.match(warnings[2] ?? '', /absolute, folder\/outside\.$/);
});

test('an ordinary source gets no warning', async () => {
  assert.deepEqual(await sourceWarnings(await sourceOf({ 'app.py': '' })), []);
});
