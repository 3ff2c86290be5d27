import assert from 'node:assert/strict';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { readOwnBuildpacks } from '../../src/builder/buildpack-api/own-buildpacks.ts';
import { ASource } from './buildpacks/run-buildpack.ts';
import { ABuilder } from './support/a-builder.ts';

const DETECT = `#!/bin/sh
echo greeter
printf '[[provides]]\\nname = "greeting"\\n[[requires]]\\nname = "greeting"\\n' >"$CNB_BUILD_PLAN_PATH"
`;
const BUILD = `#!/bin/sh
set -eu
mkdir -p "$CNB_LAYERS_DIR/greeting/bin"
cp "$CNB_BUILDPACK_DIR/greet" "$CNB_LAYERS_DIR/greeting/bin/greet"
printf '[types]\\nlaunch = true\\n' >"$CNB_LAYERS_DIR/greeting.toml"
`;
const ABOUT = 'api = "0.11"\n[buildpack]\nid = "wikibot/greeter"\nversion = "1.0.0"\n';
const NAMED = '[[io.buildpacks.group]]\nuri = "./ci/greeter"\n';

type Files = Readonly<Record<string, string>>;
const greeter: Files = {
  'project.toml': NAMED,
  'ci/greeter/buildpack.toml': ABOUT,
  'ci/greeter/bin/detect': DETECT,
  'ci/greeter/bin/build': BUILD,
  'ci/greeter/greet': '#!/bin/sh\necho hello\n',
};

async function write(folder: string, files: Files): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
    if (text.startsWith('#!')) await chmod(join(folder, path), 0o755);
  }
}

async function sourceOf(files: Files): Promise<ASource> {
  const source = await ASource.of({});
  await write(source.folder, files);
  return source;
}

test('a buildpack in a tool’s repository takes part beside the server’s buildpacks, and the Procfile can name a program that this buildpack installs', async () => {
  await using builder = await ABuilder.open();
  await using source = await sourceOf({
    ...greeter,
    Procfile: 'web: greet\n',
    'project.toml': `${NAMED}[[io.buildpacks.group]]\nid = "heroku/procfile"\n`,
  });
  const artifact = await builder.build(source.folder);
  assert.deepEqual(
    artifact.buildpacks.map((entry) => entry.split(' ')[0]),
    ['wikibot/greeter', 'toolforge/procfile'],
  );
  assert.match(builder.said, /greeter · Procfile \(web\)/);
  assert.match(builder.said, /project\.toml names heroku\/procfile\. This name has no effect/);
});

test('if the bin/detect of a buildpack in a tool’s repository exits with 100, the build fails, and the error names the buildpack', async () => {
  await using builder = await ABuilder.open();
  await using source = await sourceOf({
    ...greeter,
    'index.html': '',
    'ci/greeter/bin/detect': '#!/bin/sh\necho there is no greeting.txt\nexit 100\n',
  });
  await assert.rejects(builder.build(source.folder), {
    code: 'BUILD_FAILED',
    message:
      'the buildpack wikibot/greeter does not take part, because its bin/detect exited 100 (there is no greeting.txt)',
  });
});

for (const [file, text] of [
  ['.slugignore', 'ci/\n'],
  ['project.toml', `[io.buildpacks]\nexclude = ["greeter"]\n${NAMED}`],
] as const) {
  test(`if ${file} removes files of a buildpack that project.toml names, the build fails, and the error says so`, async () => {
    await using builder = await ABuilder.open();
    await using source = await sourceOf({ ...greeter, [file]: text, Procfile: 'web: greet\n' });
    await assert.rejects(builder.build(source.folder), {
      code: 'BUILD_SLUGIGNORE',
      message:
        /^\.slugignore, or exclude in project\.toml, removes files of the buildpack wikibot\/greeter, which project\.toml names$/,
    });
  });
}

test('a buildpack in a tool’s repository is refused if it has the id of a buildpack of the server', async () => {
  await using builder = await ABuilder.open();
  await using source = await sourceOf({
    ...greeter,
    'ci/greeter/buildpack.toml': ABOUT.replace('wikibot/greeter', 'toolforge/procfile'),
  });
  await assert.rejects(builder.build(source.folder), {
    code: 'BAD_BUILDPACK',
    message:
      /^the file project\.toml names a buildpack with the id toolforge\/procfile, but this server has a buildpack of this id$/,
  });
});

test('project.toml places buildpacks in the tool’s repository before all others, before procfile, or after all others', async () => {
  const copy = (name: string) => ({
    [`${name}/buildpack.toml`]: ABOUT.replace('greeter', name),
    [`${name}/bin/detect`]: DETECT,
    [`${name}/bin/build`]: BUILD,
  });
  await using source = await sourceOf({
    ...copy('one'),
    ...copy('two'),
    ...copy('three'),
    ...copy('four'),
    'project.toml': `
      [[io.buildpacks.post.group]]
      uri = "three"
      [[io.buildpacks.pre.group]]
      uri = "./one/"
      [[io.buildpacks.group]]
      uri = "file:two"
      [[build.buildpacks]]
      uri = "four"`,
  });
  const { first, beforeProcfile, last, warnings } = await readOwnBuildpacks(source.folder);
  const pathsOf = (list: typeof first) => list.map(({ path }) => path);
  assert.deepEqual(
    [pathsOf(first), pathsOf(beforeProcfile), pathsOf(last), warnings],
    [['one'], ['two', 'four'], ['three'], []],
  );
});

for (const uri of [
  ...[
    'docker://registry.example/java:2',
    'https://example.org/buildpack.tgz',
    'urn:cnb:registry:heroku/php@2',
  ],
  ...['heroku/nodejs', 'from=builder', 'registry.example/paketo/go'],
]) {
  test(`the buildpack name ${uri} in project.toml has no effect, and a warning says so`, async () => {
    await using source = await sourceOf({ 'project.toml': `[[io.buildpacks.group]]\nuri = "${uri}"\n` });
    const { beforeProcfile, warnings } = await readOwnBuildpacks(source.folder);
    assert.deepEqual(beforeProcfile, []);
    assert.ok(warnings[0]?.startsWith(`project.toml names ${uri}. This name has no effect`), warnings[0]);
  });
}

for (const { name, files, says } of [
  {
    name: 'is in a folder above the repository',
    files: named('../greeter'),
    says: /"\.\.\/greeter", which is not in the/,
  },
  {
    name: 'is above the repository by a path that begins inside',
    files: named('./ci/../../x'),
    says: /is not in the repository$/,
  },
  {
    name: 'has an absolute path',
    files: named('/cnb/buildpacks/toolforge_node/0.1.0'),
    says: /is not in the repos/,
  },
  {
    name: 'has a file: address with an absolute path',
    files: named('file:///etc'),
    says: /"file:\/\/\/etc", which is not in the repos/,
  },
  { name: 'has a path with a line break', files: named('./a\\nb'), says: /is not in the repository$/ },
  {
    name: 'is in a folder that does not exist',
    files: named('./nothing'),
    says: /^the file project\.toml names the buildpack \.\/nothing \(line 2\), but there is no folder nothing, or a part of this path/,
  },
  {
    name: 'has no buildpack.toml',
    files: { 'ci/greeter/buildpack.toml': null },
    says: /^the file project\.toml names the buildpack \.\/ci\/greeter \(line 2\), but there is no file ci\/greeter\/buildpack\.toml$/,
  },
  {
    name: 'has a version of the Buildpack API that is not supported',
    files: { 'ci/greeter/buildpack.toml': ABOUT.replace('0.11', '0.2') },
    says: /, but ci\/greeter\/buildpack\.toml cannot be used: the Buildpack API must be 0\.8 to 0\.12/,
  },
  {
    name: 'has no id',
    files: { 'ci/greeter/buildpack.toml': 'api = "0.11"\n[buildpack]\nversion = "1"\n' },
    says: /cannot be used: the id of the buildpack is missing: id = "example\/lua"$/,
  },
  {
    name: 'has an id with ../ in it',
    files: { 'ci/greeter/buildpack.toml': ABOUT.replace('wikibot/greeter', '../toolforge/node') },
    says: /cannot be used: an id may have letters, digits, hyphens, dots and slashes$/,
  },
  {
    name: 'has a reserved id',
    files: { 'ci/greeter/buildpack.toml': ABOUT.replace('wikibot/greeter', 'config') },
    says: /cannot be used: this id is reserved$/,
  },
  {
    name: 'has a version with ../ in it',
    files: { 'ci/greeter/buildpack.toml': ABOUT.replace('1.0.0', '1/../../x') },
    says: /cannot be used: a version must begin with a digit, such as 0\.1\.0$/,
  },
  {
    name: 'has a buildpack.toml that is not TOML',
    files: { 'ci/greeter/buildpack.toml': `${ABOUT}x =\n` },
    says: /, but ci\/greeter\/buildpack\.toml is not valid TOML \(line 5: /,
  },
  {
    name: 'has a buildpack.toml of 70 kB',
    files: { 'ci/greeter/buildpack.toml': `${ABOUT}${'#'.repeat(70_000)}` },
    says: /, but ci\/greeter\/buildpack\.toml is larger than 65536 bytes$/,
  },
  {
    name: 'has no bin/detect',
    files: { 'ci/greeter/bin/detect': null },
    says: /has no file ci\/greeter\/bin\/detect$/,
  },
  {
    name: 'has a bin/build that is not executable',
    files: { 'ci/greeter/bin/build': 'exit 0\n' },
    says: /, but the file ci\/greeter\/bin\/build is not executable$/,
  },
] as const) {
  test(`a buildpack in project.toml is refused if it ${name}`, async () => {
    const given = Object.entries({ ...greeter, ...files }).filter(([, text]) => text !== null);
    await using source = await sourceOf(Object.fromEntries(given) as Files);
    await assert.rejects(readOwnBuildpacks(source.folder), { name: 'DeployError', message: says });
  });
}

for (const { name, text, says } of [
  {
    name: 'with a text in place of the list of buildpacks',
    text: 'io.buildpacks.group = "x"\n',
    says: /cannot be used: io\.buildpacks\.group: /,
  },
  {
    name: 'with an inline script as a buildpack',
    text: '[[io.buildpacks.group]]\nid = "x/y"\n[io.buildpacks.group.script]\napi = "0.10"\ninline = "true"\n',
    says: /^the file project\.toml has an inline script as the buildpack "x\/y"$/,
  },
  {
    name: 'with one buildpack twice',
    text: NAMED + NAMED,
    says: /names two buildpacks with the id wikibot\/gr/,
  },
  {
    name: 'with eleven buildpacks',
    text: NAMED.repeat(11),
    says: /names more than 10 buildpacks of the repository$/,
  },
  {
    name: 'of 70 kB',
    text: `#${'x'.repeat(70_000)}\n`,
    says: /^the file project\.toml is larger than 16384 bytes$/,
  },
]) {
  test(`a project.toml that cannot be used is refused with the reason: a file ${name}`, async () => {
    await using source = await sourceOf({ ...greeter, 'project.toml': text });
    await assert.rejects(readOwnBuildpacks(source.folder), { code: 'BUILD_PROJECT_TOML', message: says });
  });
}

test('a symbolic link to a buildpack, or to a buildpack.toml, outside of the repository is not followed', async () => {
  await using outside = await sourceOf(greeter);
  await using source = await sourceOf({ 'project.toml': '[[io.buildpacks.group]]\nuri = "./own"\n' });
  await symlink(join(outside.folder, 'ci/greeter'), join(source.folder, 'own'));
  await assert.rejects(readOwnBuildpacks(source.folder), {
    message: /a part of this path is a symbolic link$/,
  });
  await using other = await sourceOf({ ...greeter, 'project.toml': NAMED.replace('greeter', 'linked') });
  await mkdir(join(other.folder, 'ci/linked'));
  await symlink(
    join(outside.folder, 'ci/greeter/buildpack.toml'),
    join(other.folder, 'ci/linked/buildpack.toml'),
  );
  await assert.rejects(readOwnBuildpacks(other.folder), {
    message: /, but there is no file ci\/linked\/buildpack\.toml$/,
  });
});

function named(uri: string): Files {
  return { 'project.toml': `[[io.buildpacks.group]]\nuri = "${uri}"\n` };
}
