import assert from 'node:assert/strict';
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readAppJson } from '../../../src/builder/source/app-json.ts';

import { readProcfile } from '../../../src/builder/source/procfile.ts';
import { sourceWarnings } from '../../../src/builder/source/source-warnings.ts';
import { readServiceTemplate } from '../../../src/builder/source/toolforge/service-template.ts';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import type { Replicas } from '../../../src/core/types.ts';
import { failsWith } from '../support/with-builder.ts';

const made: string[] = [];
after(async () => {
  for (const folder of made) await removeTree(folder);
});

for (const { name, text, formation = {}, warning } of [
  { name: 'no formation', text: '{"name": "x", "expo": {"slug": "y"}}' },
  { name: 'a list in place of an object', text: '[1, 2]' },
  {
    name: 'quantities, and a type without a quantity',
    text: '\uFEFF{"formation": {"web": {"quantity": 0}, "worker": {"quantity": 2}, "x": {}}}',
    formation: { web: 0, worker: 2, x: 1 },
  },
  {
    name: 'keys that have no effect, named once',
    text: '{"formation": {"web": {"size": "eco"}, "x": {"size": "eco", "max_parallel": 2}}}',
    formation: { web: 1, x: 1 },
    warning: /^app\.json: size of formation, max_parallel of formation have no effect here\.$/,
  },
  {
    name: 'a file that is not JSON',
    text: '{\n"name": x}',
    warning: /^app\.json is not used, because it is not valid JSON/,
  },
] as readonly { name: string; text: string; formation?: Replicas; warning?: RegExp }[]) {
  test(`the numbers of processes are read from formation in app.json: ${name}`, async () => {
    const read = await readAppJson(await sourceOf({ 'app.json': text }));
    assert.deepEqual(read.formation, formation);
    if (warning === undefined) assert.deepEqual(read.warnings, []);
    else assert.match(read.warnings.join('\n'), warning);
  });
}

for (const worker of [
  '2',
  '{"quantity": "two"}',
  '{"quantity": -1}',
  '{"quantity": 1.5}',
  '{"quantity": 1001}',
  'null',
]) {
  test(`app.json is refused if it has this in place of a number of processes, and the error names the line: ${worker}`, async () => {
    const source = await sourceOf({ 'app.json': `{"formation": {\n "web": {},\n "worker": ${worker}}}` });
    await assert.rejects(
      readAppJson(source),
      failsWith('BUILD_APP_JSON', /no number of processes for worker \(line 3\)/),
    );
  });
}

async function sourceOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'source-'));
  made.push(folder);
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

const KiB = 1024;
for (const { name, text, settings, warning } of [
  { name: 'a path', text: 'health-check-path: /healthz\n', settings: { healthCheckPath: '/healthz' } },
  {
    name: 'a path with full stops',
    text: 'health-check-path: /.well-known/a..b?x=../\n',
    settings: { healthCheckPath: '/.well-known/a..b?x=../' },
  },
  {
    name: 'only keys and values that change nothing here',
    text: 'type: python3.11\nmount: none\nbackend: kubernetes\n',
  },
  { name: 'an empty file', text: '' },
  { name: 'only a comment', text: '# nothing\n' },
  {
    name: 'everything at once',
    text: 'type: "node20"\nhealth-check-path: /h\nreplicas: 2\ncpu: 500m\nmem: 1Gi\n',
    settings: { healthCheckPath: '/h', replicas: 2, cpuCores: 0.5, memoryBytes: KiB ** 3 },
  },
  { name: 'mem in Mi', text: 'mem: 512Mi\n', settings: { memoryBytes: 512 * KiB ** 2 } },
  { name: 'mem in G', text: 'mem: 1.5G\n', settings: { memoryBytes: 1_500_000_000 } },
  { name: 'mem in bytes', text: 'mem: 134217728\n', settings: { memoryBytes: 128 * KiB ** 2 } },
  { name: 'cpu as a number', text: 'cpu: 2\n', settings: { cpuCores: 2 } },
  {
    name: 'mem of 512 bytes',
    text: 'mem: 512\n',
    warning: /^mem .*512 is not used: a tool needs at least 16Mi/,
  },
  { name: 'mem that is no quantity', text: 'mem: lots\n', warning: /lots is not used: write it as 512Mi/ },
  { name: 'mem with a strange unit', text: 'mem: 1Zi\n', warning: /1Zi is not used/ },
  {
    name: 'cpu that is no quantity',
    text: 'cpu: [1]\n',
    warning: /^cpu .*\[1\] is not used: write it as 500m/,
  },
  { name: 'zero replicas', text: 'replicas: 0\n', warning: /^replicas .*0 is not used.*from 1 to 100/ },
  { name: 'half a replica', text: 'replicas: 1.5\n', warning: /1\.5 is not used/ },
  { name: 'mount: all', text: 'mount: all\n', warning: /^mount .*there is no NFS here/ },
  {
    name: 'an unknown mount',
    text: 'mount: some\n',
    warning: /some is not used: the known values are none and all/,
  },
  {
    name: 'a type for which there is no buildpack',
    text: 'type: tcl8.6\n',
    warning: /^type .*tcl8\.6 has no effect here/,
  },
  { name: 'an unknown key', text: 'helth: /x\n', warning: /unknown keys: helth/ },
  {
    name: 'the key constructor, which every JavaScript object has',
    text: 'constructor: x\n',
    warning: /unknown keys: constructor/,
  },
  { name: 'a path without /', text: 'health-check-path: healthz\n', warning: /begin with \// },
  { name: 'a path with a line break', text: 'health-check-path: "/a\\r\\nX: y"\n', warning: /not used/ },
  {
    name: 'a path with the part /../',
    text: 'health-check-path: /%2e%2e/../api/v1/secrets\n',
    warning: /must not have the parts \/\.\/ or \/\.\.\//,
  },
  {
    name: 'a path with the part /../ in percent escapes',
    text: 'health-check-path: /..%2f..%2fsecrets\n',
    warning: /not used/,
  },
  { name: 'a path with a backslash', text: "health-check-path: '/..\\..\\x'\n", warning: /or a backslash/ },
  { name: 'a number for a path', text: 'health-check-path: 8\n', warning: /not used/ },
]) {
  test(`service.template is read, and a key or value that cannot be used causes a warning: ${name}`, async () => {
    const read = await readServiceTemplate(await sourceOf({ 'service.template': text }));
    assert.deepEqual(read.settings, settings ?? {});
    if (warning === undefined) assert.deepEqual(read.warnings, []);
    else assert.match(read.warnings.join('\n'), warning);
  });
}

for (const { name, text, why } of [
  { name: 'a list', text: '- a\n', why: /must have lines of the form `key: value`/ },
  { name: 'a word', text: 'python3.11\n', why: /must have lines of the form `key: value`/ },
  { name: 'a file that is not YAML', text: 'a: [', why: /is not valid YAML/ },
  {
    name: 'a YAML bomb',
    text: `a0: &a0 [x]\n${Array.from({ length: 40 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n},*a${n},*a${n}]`).join('\n')}\n`,
    why: /uses too many YAML aliases/,
  },
  { name: 'lists in 5,000 lists', text: `a: ${'['.repeat(5000)}\n`, why: /line 1 is nested too deeply/ },
  { name: 'a file of 70 kB', text: `type: ${'x'.repeat(70_000)}\n`, why: /larger than 16 kB/ },
]) {
  test(`threat 66: a service.template that cannot be used is refused: ${name}`, async () => {
    const source = await sourceOf({ 'service.template': text });
    await assert.rejects(readServiceTemplate(source), failsWith('BUILD_SERVICE_TEMPLATE', why));
  });
}

/** YAML with nine levels of nine aliases each, so that the last level stands for 9 ** 9 leaves. */
const nested = (leaf: string, level: (aliases: string) => string) =>
  `a0: &a0 ${leaf}\n${Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} ${level(aliases(`a${n}`, 9))}`).join('\n')}\n`;
const aliases = (name: string, count: number) => Array.from({ length: count }, () => `*${name}`).join(',');

for (const { name, text } of [
  { name: 'aliases of an empty list', text: nested('[]', (inner) => `[${inner}]`) },
  { name: 'aliases of an empty mapping', text: nested('{}', (inner) => `[${inner}]`) },
  { name: 'merges of an empty mapping', text: nested('{}', (inner) => `{<<: [${inner}]}`) },
  { name: 'lists that contain themselves', text: 'a: &a [&b [*a, *b], *b]\n' },
  { name: 'a mapping that contains itself', text: 'mem: &b {x: *b}\n' },
  { name: 'a long text', text: `a0: &a0 ${'x'.repeat(4000)}\na1: [${aliases('a0', 3000)}]\n` },
  {
    name: 'two lists, for which the parser’s own limit needs hours',
    text: `a0: &a0 []\na1: &a1 [${aliases('a0', 2000)}]\na2: [${aliases('a1', 2000)}]\n`,
  },
]) {
  test(`threat 206: a small YAML file whose aliases stand for a large content is refused: ${name}`, async () => {
    const source = await sourceOf({ 'service.template': text });
    await assert.rejects(
      readServiceTemplate(source),
      failsWith('BUILD_SERVICE_TEMPLATE', /uses too many YAML aliases/),
    );
  });
}

for (const { name, text } of [
  { name: '500 mappings, each the key of the next', text: '{'.repeat(500) + '}'.repeat(500) },
  { name: 'aliases', text: nested('[]', (inner) => `{? [${inner}] : 1}`) },
  { name: 'a list that contains itself', text: 'a: {<<: {? &a [*a] : 1}}\n' },
]) {
  test(`threat 206: a YAML file with keys that are no texts is refused: ${name}`, async () => {
    const source = await sourceOf({ 'service.template': text });
    await assert.rejects(
      readServiceTemplate(source),
      failsWith('BUILD_SERVICE_TEMPLATE', /a key must be a text|nested too deeply/),
    );
  });
}

test('the server reads keys of a YAML file as texts, even those that YAML takes for numbers or truth values', async () => {
  const text = 'yes: 1\n1: 2\nnull: 3\nhealth-check-path: /up\n';
  const { settings, warnings } = await readServiceTemplate(await sourceOf({ 'service.template': text }));
  assert.deepEqual(settings, { healthCheckPath: '/up' });
  assert.match(warnings.join(' '), /\b1, yes, null\b/);
});

test('a YAML file may use one anchor many times', async () => {
  const text = `usual: &usual {mem: 1Gi}\njobs: [${aliases('usual', 60)}]\nhealth-check-path: /up\n`;
  const read = await readServiceTemplate(await sourceOf({ 'service.template': text }));
  assert.deepEqual(read.settings, { healthCheckPath: '/up' });
});

for (const { name, text } of [
  { name: 'an alias without an anchor', text: 'type: *python\n' },
  { name: 'a merge of a number', text: '<<: 3\n' },
]) {
  test(`a YAML file that the parser cannot resolve is refused with the reason: ${name}`, async () => {
    const source = await sourceOf({ 'service.template': text });
    await assert.rejects(
      readServiceTemplate(source),
      failsWith('BUILD_SERVICE_TEMPLATE', /is not valid YAML \(.+\)/),
    );
  });
}

test('service.template is found where Toolforge’s webservice looks for it, and two such files are refused', async () => {
  const source = await sourceOf({});
  await mkdir(join(source, 'www/python/src'), { recursive: true });
  await writeFile(join(source, 'www/python/src/service.template'), 'health-check-path: /inner\n');
  assert.equal((await readServiceTemplate(source)).settings.healthCheckPath, '/inner');
  await writeFile(join(source, 'service.template'), 'health-check-path: /top\n');
  await assert.rejects(
    readServiceTemplate(source),
    failsWith('BUILD_SERVICE_TEMPLATE', /service\.template, www\/python\/src\/service\.template/),
  );
});

test('threat 39: a service.template that is a link is not read', async () => {
  const secret = await sourceOf({ file: 'health-check-path: /stolen\n' });
  const source = await sourceOf({});
  await symlink(join(secret, 'file'), join(source, 'service.template'));
  assert.deepEqual(await readServiceTemplate(source), { settings: {}, command: null, warnings: [] });
});

for (const { name, text, warnings } of [
  { name: 'no warning for good lines', text: '# note\nweb: a\n\nworker-2: b c\r\n', warnings: [] },
  { name: 'a line without a colon', text: 'web a\n', warnings: ['Line 1'] },
  { name: 'a process type with a capital letter', text: 'web: a\nWorker: b\n', warnings: ['Line 2'] },
  { name: 'a process type that two lines define', text: 'web: a\nweb: b\n', warnings: ['Line 2'] },
  { name: 'a process type without a command', text: 'web:  \n', warnings: ['Line 1'] },
  { name: 'quotes around a command', text: 'web: "python app.py"\n', warnings: ['Line 1'] },
  {
    name: 'no warning for quotes in a command',
    text: 'web: "python" "app.py"\nx: "$PROGRAM"\n',
    warnings: [],
  },
  {
    name: 'a command in two lines',
    text: 'web: python app.py \\\n  --port $PORT\n',
    warnings: ['Line 1', 'Line 2'],
  },
  { name: 'no warning for tabs', text: 'web:\tpython app.py\n', warnings: [] },
  {
    name: 'no warning for a file so large that the buildpack refuses it',
    text: '# \n'.repeat(30_000),
    warnings: [],
  },
]) {
  test(`each line of a Procfile that will not do what its author expects causes a warning: ${name}`, async () => {
    const { warnings: found } = await readProcfile(await sourceOf({ Procfile: text }));
    assert.deepEqual(
      found.map((line) => line.slice(0, 6)),
      warnings,
    );
  });
}

test('the warning of an indented line of a Procfile says that a command has one line', async () => {
  const Procfile = 'web: gunicorn app:app\n    --bind 0.0.0.0:8000\npython manage.py migrate\n';
  const { warnings } = await readProcfile(await sourceOf({ Procfile }));
  assert.deepEqual(
    warnings.map((warning) =>
      warning.endsWith(' If it continues the command above, write both on one line.'),
    ),
    [true, false],
  );
});

for (const { types, meant } of [
  { types: ['wbe'], meant: ['web'] },
  { types: ['webb', 'relase'], meant: ['web', 'release'] },
  { types: ['web', 'web2', 'release'], meant: [] },
  { types: ['worker', 'bot', 'db', 'webhooks'], meant: [] },
]) {
  test(`a Procfile with ${types.join(', ')} ${meant.length === 0 ? 'causes no warning' : 'causes warnings'} about misspelt names`, async () => {
    const Procfile = types.map((type) => `${type}: python app.py\n`).join('');
    const { warnings } = await readProcfile(await sourceOf({ Procfile }));
    assert.deepEqual(
      warnings,
      meant.map(
        (name, index) =>
          `The Procfile has a line ${types[index]}, which does not start by itself. Do you mean ${name}?`,
      ),
    );
  });
}

test('threat 41: submodules, LFS pointers and links to outside of the source cause warnings', async () => {
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
  assert.match(warnings[0] ?? '', /submodules/);
  assert.match(warnings[1] ?? '', /LFS.*: big\.bin\./);
  assert.match(warnings[2] ?? '', /absolute, folder\/outside\.$/);
});

test('threat 41: a pointer of Git LFS causes a warning even if the only .gitattributes is in a subfolder', async () => {
  const source = await sourceOf({ 'app.py': '' });
  await mkdir(join(source, 'assets'));
  await writeFile(join(source, 'assets/.gitattributes'), '*.png filter=lfs diff=lfs merge=lfs -text\n');
  await writeFile(
    join(source, 'assets/map.png'),
    'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n',
  );
  const [warning = ''] = await sourceWarnings(source);
  assert.match(warning, /LFS.*: assets\/map\.png\./);
});

test('a git repository inside the repository of a tool causes a warning, unless .slugignore may have emptied its folder', async () => {
  const source = await sourceOf({ 'app.py': '' });
  await mkdir(join(source, 'libraries/inner'), { recursive: true });
  assert.match(
    (await sourceWarnings(source)).join(),
    /^Each of these .* empty here: libraries\/inner\. To add/,
  );
  assert.deepEqual(await sourceWarnings(source, false), []);
});

test('a .gitattributes or .gitmodules that is too large to read fails no build', async () => {
  const source = await sourceOf({
    '.gitattributes': '*.bin -text\n'.repeat(100_000),
    '.gitmodules': '#\n'.repeat(600_000),
  });
  const warnings = await sourceWarnings(source);
  assert.match(warnings.join(), /^Git submodules are not supported/);
});

test('warnings about a source leave out files whose names are not UTF-8, but not other files in the same folder', async () => {
  const source = await sourceOf({});
  const folder = Buffer.concat([Buffer.from(`${source}/caf`), Buffer.of(0xe9)]);
  await mkdir(folder);
  await writeFile(Buffer.concat([folder, Buffer.from('/file')]), '');
  await symlink('/etc/passwd', Buffer.concat([folder, Buffer.from('-link')]));
  await symlink('/etc/passwd', join(source, 'absolute'));
  const warnings = await sourceWarnings(source);
  assert.match(warnings.join(), /so they do not work here: absolute\.$/);
});

test('an ordinary source causes no warnings', async () => {
  assert.deepEqual(await sourceWarnings(await sourceOf({ 'app.py': '' })), []);
});
