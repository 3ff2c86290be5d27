import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { ABuilder, productBuildpacks, registryEnvironment } from '../support/a-builder.ts';
import { failsWith } from '../support/with-builder.ts';
import { ASource } from './run-buildpack.ts';

const lib = join(productBuildpacks, 'apt/lib');

for (const { name, files, says } of [
  { name: 'an Aptfile', files: { Aptfile: 'figlet\n' }, says: 'apt (Aptfile)' },
  { name: 'project.toml', files: { 'project.toml': '[apt]\npackages = []\n' }, says: 'apt (project.toml)' },
  {
    name: 'project.toml with a byte order mark',
    files: { 'project.toml': '\uFEFF[apt]\npackages = []\n' },
    says: 'apt (project.toml)',
  },
  {
    name: 'an Aptfile and a table [apt]',
    files: { Aptfile: '', 'project.toml': ' [ apt ] # x\n' },
    says: 'apt (Aptfile, project.toml)',
  },
  {
    name: 'Heroku’s table in project.toml',
    files: { 'project.toml': '[com.heroku.buildpacks.deb-packages]\ninstall = []\n' },
    says: 'apt (project.toml)',
  },
  { name: 'only other tables', files: { 'project.toml': '[aptly]\n[x.apt]\n' }, says: null },
  { name: 'neither of the two files', files: { 'README.md': 'Aptfile' }, says: null },
]) {
  test(`the apt buildpack takes part by itself only if there is an Aptfile, or a table [apt] in project.toml: ${name}`, async () => {
    await using source = await ASource.of(files);
    const { code, output, plan } = await source.run('apt', 'detect');
    assert.deepEqual([code, output, plan.includes('[[requires]]')], [0, says ?? '', says !== null]);
  });
}

test('the apt buildpack also reads the package names of the build plan, and refuses a shell command among them without running it', async () => {
  for (const plan of [
    '[[entries]]\nname = "apt"\n\n[entries.metadata]\npackages = [ "no-such-1", "$(touch x)" ]\n',
    '[[entries]]\n  name = "apt"\n  [entries.metadata]\n    packages = ["no-such-1", "$(touch x)"]\n',
  ]) {
    await using source = await ASource.of({});
    const { output } = await source.run('apt', 'build', { CNB_TARGET_DISTRO_NAME: 'debian' }, plan);
    assert.match(output, /A package of the build plan .*\$\(touch x\)/);
    assert.deepEqual(await readdir(source.folder), []);
  }
});

for (const { name, text, says } of [
  { name: 'an option', text: 'figlet\n-o Dir::Etc=/x\n', says: /Line 2 of the Aptfile: options of apt/ },
  { name: 'two dashes', text: '--allow-unauthenticated\n', says: /Line 1 of the Aptfile: options of apt/ },
  { name: 'an address', text: 'https://example.org/x.deb\n', says: /Line 1 .*files and addresses/ },
  { name: 'a file', text: './x.deb\n', says: /files and addresses/ },
  { name: 'a repository', text: ':repo:deb http://example.org x main\n', says: /other repositories/ },
  { name: 'a repository after spaces', text: '\n :repo:deb x\n', says: /Line 2 .*other repositories/ },
  { name: 'a PPA', text: 'figlet ppa:x/y\n', says: /Line 1 .*other repositories/ },
  { name: 'an option after a name', text: 'figlet -y\n', says: /Line 1 .*options of apt/ },
  { name: 'a pattern for everything', text: '*\n', says: /a pattern must begin with two letters/ },
  { name: 'a version', text: 'figlet=2.2\n', says: /write only figlet/ },
  {
    name: 'an architecture',
    text: 'figlet:i386\n',
    says: /another architecture are not supported: write only figlet$/,
  },
  { name: 'a removal', text: 'figlet-\n', says: /not the name of a Debian package/ },
  { name: 'a command', text: '$(touch hacked)\n', says: /not the name/ },
  { name: 'a quoted command', text: 'a;touch\\ hacked\n', says: /not the name/ },
  { name: 'a command in one word', text: 'a;touch$IFS-hacked\n', says: /not the name/ },
  { name: 'a search pattern of apt', text: '~nfiglet\n', says: /not the name/ },
  { name: 'a regular expression', text: 'lib.*\n', says: /any letters: write lib\*$/ },
  { name: 'a capital letter', text: 'Figlet\n', says: /small letters/ },
  { name: 'a path in place of a release', text: 'figlet/../x\n', says: /not the name/ },
  {
    name: 'a Debian release that is not available',
    text: 'figlet/woody\n',
    says: /Line 1 .*the release woody is not available.*bookworm-backports/,
  },
  { name: 'a control character', text: 'fig\u0007let\n', says: /control character/ },
  { name: 'bytes that are not UTF-8', text: Buffer.from([0x66, 0xff, 0x0a]), says: /not UTF-8/ },
  { name: 'a file of 80 kB', text: `${'# x\n'.repeat(20_000)}`, says: /larger than 64 kB/ },
  { name: '201 packages', text: 'figlet\n'.repeat(201), says: /more than 200 packages/ },
]) {
  test(`threats 66 and 68: an Aptfile that breaks a rule of the apt buildpack installs and runs nothing, and is refused with the reason: ${name}`, async () => {
    await using source = await ASource.of({ Aptfile: text });
    const { code, output } = await source.run('apt', 'build', { CNB_TARGET_DISTRO_NAME: 'debian' });
    assert.equal(code, 1, output);
    const reason = output.split('\n').at(-1) ?? '';
    assert.match(reason, says);
    assert.ok(reason.length <= 168, `${reason.length} characters do not fit into the verdict`);
    assert.deepEqual(await readdir(source.folder), ['Aptfile']);
  });
}

for (const { name, text, says } of [
  {
    name: 'a text in place of the list',
    text: '[apt]\npackages = "figlet"\n',
    says: /Line 2 of project\.toml: packages/,
  },
  { name: 'numbers', text: '[apt]\npackages = [\n "a2ps",\n 1 ]\n', says: /Line 4 of project\.toml/ },
  { name: 'an escape sequence', text: '[apt]\npackages = ["\\u0061"]\n', says: /Line 2 of project\.toml/ },
  {
    name: 'a list without an end',
    text: '[apt]\npackages = ["figlet",\n',
    says: /of project\.toml: packages/,
  },
  {
    name: 'a byte order mark before the table',
    text: '\uFEFF[apt]\npackages = ["-y"]\n',
    says: /Line 2 of project\.toml: options/,
  },
  {
    name: 'a list without a comma',
    text: "[apt]\npackages = ['a2ps' 'figlet']\n",
    says: /Line 2 of project\.toml/,
  },
  {
    name: 'an entry of Heroku’s list without a name',
    text: '[com.heroku.buildpacks.deb-packages]\ninstall = [{ force = true }]\n',
    says: /Line 2 of project\.toml: install of \[com\.heroku\.buildpacks\.deb-packages\] must be a list/,
  },
  { name: 'an option', text: '[apt]\npackages = [ # x\n "-y" ]\n', says: /Line 3 of project\.toml: options/ },
]) {
  test(`threat 66: invalid packages in project.toml are refused with the reason: ${name}`, async () => {
    await using source = await ASource.of({ 'project.toml': text });
    const { code, output } = await source.run('apt', 'build', { CNB_TARGET_DISTRO_NAME: 'debian' });
    assert.equal(code, 1, output);
    assert.match(output.split('\n').at(-1) ?? '', says);
  });
}

test('the apt buildpack reads lists of packages in project.toml with comments, line breaks and both kinds of quotation marks, and ignores lists in other tables', async () => {
  await using source = await ASource.of({
    'project.toml':
      '[x]\npackages = ["no"]\n[apt]\nother = 1\npackages = [ "a2ps", # ]\r\n\n  \'figlet\' ,]\n[y]\npackages = ["no"]\n' +
      '[com.heroku.buildpacks.deb-packages]\ninstall = [ "ffmpeg", { force = true, env = { A = "no" }, name = "git" }, ]\n' +
      '[[com.heroku.buildpacks.deb-packages.sources]]\ninstall = ["no"]\n',
  });
  const { stdout } = await execa('awk', [
    '-f',
    join(lib, 'project.awk'),
    join(source.folder, 'project.toml'),
  ]);
  assert.equal(stdout, '5\ta2ps\n7\tfiglet\n11\tffmpeg\n11\tgit');
});

test('on a system that is not Debian, the apt buildpack fails and says that it needs Debian', async () => {
  await using source = await ASource.of({ Aptfile: 'figlet\n' });
  const { code, output } = await source.run('apt', 'build', { CNB_TARGET_DISTRO_NAME: 'fedora' });
  assert.equal(code, 1);
  assert.match(output, /only be installed on a server with Debian, but this server has fedora/);
});

test('calls of update-alternatives in the scripts of Debian packages are read, also in loops and with variables, and no script is run', async () => {
  const script = `#!/bin/sh
base=/usr/lib/jvm
tools='java jar'
if [ "$1" = configure ]; then
  for prog in convert "compare"; do
    update-alternatives --quiet --install /usr/bin/$prog \\
        $prog /usr/bin/\${prog}-im6 10 \\
        --slave /usr/share/man/man1/$prog.1.gz $prog.1.gz /usr/share/man/man1/$prog-im6.1.gz || true
  done
  for i in $tools
  do
    update-alternatives --install /usr/bin/$i $i $base/bin/$i 1711 $unknown
  done
  update-alternatives --install /usr/bin/x x "$(touch hacked)" 5
  update-alternatives --install /usr/bin/../../etc/y y /etc/../../y 5; update-alternatives --remove z /z
  # update-alternatives --install /usr/bin/no no /usr/bin/not 5
fi
`;
  const { stdout } = await execa('awk', ['-f', join(lib, 'alternatives.awk')], { input: script });
  assert.deepEqual(stdout.split('\n'), [
    '10\t/usr/bin/convert\t/usr/bin/convert-im6',
    '10\t/usr/share/man/man1/convert.1.gz\t/usr/share/man/man1/convert-im6.1.gz',
    '10\t/usr/bin/compare\t/usr/bin/compare-im6',
    '10\t/usr/share/man/man1/compare.1.gz\t/usr/share/man/man1/compare-im6.1.gz',
    '1711\t/usr/bin/java\t/usr/lib/jvm/bin/java',
    '1711\t/usr/bin/jar\t/usr/lib/jvm/bin/jar',
  ]);
});

for (const { name, source: text, expected } of [
  {
    name: 'a source in a paragraph',
    source:
      'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n',
    expected:
      'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By: /k.gpg',
  },
  {
    name: 'a source in a line with options',
    source:
      '# x\ndeb-src http://no bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # y\n',
    expected:
      'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main contrib\nSigned-By: /k.gpg',
  },
  {
    name: 'not from a source that is switched off',
    source: 'Types: deb\nEnabled: no\nURIs: http://x\nSuites: bookworm\n',
    expected: '',
  },
  {
    name: 'not from a source of another release',
    source: 'deb http://x bookworm-security main\n',
    expected: '',
  },
]) {
  test(`backports come from the same mirror as the machine’s own packages: ${name}`, async () => {
    const variables = ['-v', 'codename=bookworm', '-v', 'release=bookworm-backports'];
    const { stdout } = await execa('awk', [...variables, '-f', join(lib, 'backports.awk')], { input: text });
    assert.equal(stdout, expected);
  });
}

/** Calls `run` with a folder in place of /etc/apt that names these package sources, and then deletes the folder. */
async function withSources(line: string, run: (etc: string) => Promise<void>): Promise<void> {
  const etc = await mkdtemp(join(tmpdir(), 'etc-apt-'));
  try {
    await mkdir(join(etc, 'repository'));
    await writeFile(join(etc, 'repository/Packages'), '');
    await writeFile(join(etc, 'repository/Release'), 'Suite: x\nSHA256:\n');
    await writeFile(join(etc, 'sources.list'), `${line.replace('HERE', `${etc}/repository`)}\n`);
    await run(etc);
  } finally {
    await rm(etc, { recursive: true });
  }
}

for (const { name, line, says } of [
  {
    name: 'threat 67: if a package source cannot be reached, the build fails, and the reason names the source',
    line: 'deb http://127.0.0.1:9/debian bookworm main',
    says: /sources could not be reached \(127\.0\.0\.1:9\)/,
  },
  {
    name: 'threat 67: if many package sources cannot be reached, the reason is still the last line of the output',
    line: Array.from({ length: 200 }, (_, n) => `deb http://127.0.0.1:9/debian s${n} main`).join('\n'),
    says: /sources could not be reached \(127\.0\.0\.1:9\)/,
  },
  {
    name: 'threat 68: a package source that is not signed is not used, even if the machine’s list says to trust it',
    line: 'deb [trusted=yes allow-insecure=yes] file:HERE ./',
    says: /signatures of the package sources of this server cannot be verified/,
  },
]) {
  test(name, async () => {
    await withSources(line, async (etc) => {
      await using source = await ASource.of({ Aptfile: 'figlet\n' });
      const env = { CNB_TARGET_DISTRO_NAME: 'debian', TOOLFORGE_APT_ETC: etc };
      const { code, output } = await source.run('apt', 'build', env);
      assert.equal(code, 1, output);
      assert.match(output.split('\n').at(-1) ?? '', says);
    });
  });
}

const paragraph = 'Types: deb\nURIs: http://127.0.0.1:9/debian\n';
for (const { name, text, isAdded } of [
  { name: 'does not have this source', text: '', isAdded: true },
  {
    name: 'has this source in a line',
    text: 'deb  [a=b c=d] http://127.0.0.1:9/debian bookworm-backports main',
    isAdded: false,
  },
  {
    name: 'has this source as a paragraph',
    text: `\n${paragraph}Suites: x\n bookworm-backports\n`,
    isAdded: false,
  },
  {
    name: 'has this source only in a comment',
    text: '# deb http://127.0.0.1:9/debian bookworm-backports main',
    isAdded: true,
  },
  {
    name: 'has this source switched off',
    text: `\n${paragraph}Suites: bookworm-backports\nEnabled: no\n`,
    isAdded: true,
  },
  {
    name: 'has this source only for source code',
    text: 'deb-src http://127.0.0.1:9/debian bookworm-backports main',
    isAdded: true,
  },
]) {
  test(`the build ${isAdded ? 'adds a' : 'adds no'} package source for the backports that an Aptfile asks for: the machine’s own list ${name}`, async () => {
    const line = text.startsWith('\n') ? '' : text;
    await withSources(`deb http://127.0.0.1:9/debian bookworm main\n${line}`, async (etc) => {
      await mkdir(join(etc, 'sources.list.d'));
      if (line === '') await writeFile(join(etc, 'sources.list.d/x.sources'), text);
      await using source = await ASource.of({ Aptfile: 'figlet/bookworm-backports\n' });
      await source.run('apt', 'build', { CNB_TARGET_DISTRO_NAME: 'debian', TOOLFORGE_APT_ETC: etc });
      const sources = await readdir(join(source.layers, 'state/sources'));
      assert.equal(sources.includes('backports.sources'), isAdded);
    });
  });
}

test('Debian packages are reused after the lifecycle has rewritten the file apt.toml of their layer', async () => {
  await using source = await ASource.of({ Aptfile: 'figlet\n' });
  const env = { ...registryEnvironment, CNB_TARGET_DISTRO_NAME: 'debian' };
  const first = await source.run('apt', 'build', env);
  assert.equal(first.code, 0, first.output);
  const file = join(source.layers, 'apt.toml');
  const metadata = (await readFile(file, 'utf8')).split('[metadata]\n')[1] ?? '';
  // The lifecycle passes the file through JSON, which makes whole numbers floating-point numbers.
  const words = metadata.replace(/^/gm, '  ').replace(/ (\d+)$/m, ' $1.0');
  await writeFile(file, `[metadata]\n${words}`);
  const { output } = await source.run('apt', 'build', env);
  assert.match(output, /Reusing Debian packages: figlet/);
});

/** Builds a tool that consists of these files, with the product's buildpacks. */
const build = (builder: ABuilder, files: Readonly<Record<string, string>>) =>
  builder.build(tmpdir(), {
    checkOut: async (folder) => {
      for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text);
    },
  });

test('a tool with only an Aptfile and a Procfile is built, and its packages are reused by the next build', async () => {
  await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  const files = { Aptfile: 'figlet\nfortune-mod/bookworm-backports\n', Procfile: 'web: figlet hello\n' };
  await assert.rejects(
    build(builder, files),
    failsWith(
      'BUILD_FAILED',
      /^apt exited 1: Line 2 of the Aptfile: bookworm-backports has no package fortune-mod/,
    ),
  );
  const artifact = await build(builder, { ...files, Aptfile: 'figlet\n' });
  assert.match(builder.said, /apt \(Aptfile\) · Procfile \(web\)/);
  assert.match(builder.said, /1 package that the base system lacks, including dependencies: 0\.1 MB/);
  const layer = join(artifact.reference, 'layers/toolforge_apt/apt');
  assert.ok((await stat(join(layer, 'usr/bin/figlet'))).size > 1000, 'figlet is linked as an alternative');
  assert.equal(
    (await execa('readlink', [join(layer, 'usr/bin/figlet')])).stdout,
    '../../usr/bin/figlet-figlet',
  );
  await assert.rejects(readFile(join(layer, '../state.toml')), { code: 'ENOENT' });
  await build(builder, { ...files, Aptfile: 'figlet\n' });
  assert.match(builder.said, /Reusing Debian packages: figlet/);
  await build(builder, { ...files, Aptfile: 'figlet\ntoilet\n' });
  assert.match(builder.said, /Debian packages: figlet, toilet/);
  assert.doesNotMatch(builder.said, /Fetching Debian/);
});

test('an Aptfile may name several packages on a line, and packages by patterns', async () => {
  await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  await build(builder, {
    Aptfile: 'figlet toilet # both\n\tfigl?t\ntoilet-fo*\n',
    Procfile: 'web: figlet x\n',
  });
  assert.match(builder.said, /figl\?t means figlet\n {7}toilet-fo\* means toilet-fonts\n/);
});

test('for a package name that does not exist, the build suggests names that differ only in the number, the suffix or one letter', async () => {
  const names =
    'libicu76 libicu-dev libicu4j-java libasound2t64 imagemagick imagemagick-doc libpq5 libpq-dev libssl3t64 openjdk-21-jre openjdk-25-jre';
  for (const [name, nearest] of [
    ['libicu72', 'libicu76'],
    ['libasound2', 'libasound2t64'],
    ['imagemagic', 'imagemagick'],
    ['imagmagick', 'imagemagick'],
    ['libpq', 'libpq5, libpq-dev'],
    ['libssl1.1', 'libssl3t64'],
    ['openjdk-17-jre', 'openjdk-21-jre, openjdk-25-jre'],
    ['redis', ''],
  ] as const) {
    const script = `source "$1/names.sh"; all=$2; known_packages() { tr ' ' '\\n' <<<"$all"; }; nearest "$3"`;
    const { stdout } = await execa('bash', ['-euo', 'pipefail', '-c', script, 'bash', lib, names, name]);
    assert.equal(stdout, nearest, name);
  }
});

test('only packages for which the Aptfile asks for backports come from backports', async () => {
  await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
  await build(builder, { Aptfile: 'dehydrated/bookworm-backports\nfiglet\n', Procfile: 'web: true\n' });
  const downloads = await readdir(join(builder.data, 'cache/wikibot/toolforge_apt/state/archives'));
  assert.equal(downloads.filter((name) => /^dehydrated_.*~bpo12/.test(name)).length, 1, downloads.join(' '));
  assert.equal(downloads.filter((name) => name.includes('~bpo')).length, 1, downloads.join(' '));
});

for (const { name, aptfile, why } of [
  {
    name: 'a misspelt name',
    aptfile: '# tools\nfigglet\n',
    why: /^apt exited 1: Line 2 of the Aptfile: there is no package figglet\. Do you mean figlet\? Search: https:\/\/packages\.debian\.org\/figglet$/,
  },
  {
    name: 'a pattern that fits nothing',
    aptfile: 'figlet\nlibnothing-of-this*\n',
    why: /Line 2 of the Aptfile: no Debian package has a name that matches libnothing-of-this\*\.$/,
  },
  {
    name: 'a pattern that fits too much',
    aptfile: 'lib*\n',
    why: /Line 1 of the Aptfile: \d+ packages match lib\*\. Write only the names/,
  },
  {
    name: 'a package that others only provide',
    aptfile: 'mail-transport-agent\n',
    why: /Line 1 .*no package mail-transport-agent/,
  },
  ...['n.no', 'lib+s', 'figlet+'].map((aptfile) => ({
    name: `threat 66: ${aptfile}, which apt would take for more than a name`,
    aptfile: `g++\npython3.11\n${aptfile}\n`,
    why: new RegExp(`^apt exited 1: Line 3 of the Aptfile: there is no package ${RegExp.escape(aptfile)}\\.`),
  })),
  {
    name: 'packages that exclude each other',
    aptfile: 'exim4-daemon-heavy\npostfix\n',
    why: /cannot be installed together with/,
  },
]) {
  test(`if a package of the Aptfile cannot be installed, the build fails with this reason: ${name}`, async () => {
    await using builder = await ABuilder.open({ limits: { build_environment: registryEnvironment } });
    await assert.rejects(
      build(builder, { Aptfile: aptfile, Procfile: 'web: true\n' }),
      failsWith('BUILD_FAILED', why),
    );
  });
}
