import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { ASource } from './run-buildpack.ts';

const main = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n';
const proxy = Object.fromEntries(
  ['GOPROXY', 'GOSUMDB', 'GONOSUMDB', 'SSL_CERT_FILE'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  }),
);

const go = ['/usr/bin/go', '/usr/local/go/bin/go'].find((path) => existsSync(path)) ?? '';
/** The compiled packages of Go's standard library, which all builds of this file share. */
let objects: string;
before(async () => {
  objects = await mkdtemp(join(tmpdir(), 'go-objects-'));
});
after(() => rm(objects, { recursive: true }));

async function aSource(files: Readonly<Record<string, string>>): Promise<ASource> {
  const source = await ASource.of(files);
  await symlink(objects, join(source.layers, 'objects'));
  return source;
}

test('go: the only command of a module is the web process, and a Procfile may name the command with or without the folder bin', async () => {
  await using source = await aSource({
    'go.mod': 'module example.org/wikibot/v2\n\ngo 1.21\n',
    'main.go': main,
  });
  const found = await source.run('go', 'detect');
  assert.equal(found.output, 'go 1.21 (go.mod)');
  const built = await source.run('go', 'build', proxy);
  assert.equal(built.code, 0, built.output);
  assert.deepEqual(await source.processes(), { web: ['wikibot'] });
  const command = join(source.layers, 'commands/bin/wikibot');
  assert.equal((await execa(command)).stdout, 'hello');
  assert.equal(await readlink(join(source.folder, 'bin/wikibot')), command);
});

test('go: of several commands, the one named server is the web process; if none has this name, the build asks for a Procfile', async () => {
  const files = { 'go.mod': 'module example.org/bots\n\ngo 1.21\n', 'cmd/update/main.go': main };
  await using with_ = await aSource({ ...files, 'cmd/server/main.go': main });
  assert.equal((await with_.run('go', 'build', proxy)).code, 0);
  assert.deepEqual(await with_.processes(), { web: ['server'] });
  await using without = await aSource({ ...files, 'cmd/list/main.go': main });
  const built = await without.run('go', 'build', proxy);
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /commands: list update\n !\s+No file says which of the commands serves requests: .*`web: list`/,
  );
});

test('go: a module from the module proxy is fetched once, and the next build does not need the proxy', async () => {
  const uses =
    'package main\n\nimport (\n\t"fmt"\n\n\t"rsc.io/quote"\n)\n\nfunc main() { fmt.Println(quote.Hello()) }\n';
  await using source = await aSource({
    'go.mod':
      'module example.org/quoting\n\ngo 1.21\n\nrequire rsc.io/quote v1.5.2\n\nrequire (\n\tgolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c // indirect\n\trsc.io/sampler v1.3.0 // indirect\n)\n',
    'go.sum':
      'golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c h1:qgOY6WgZOaTkIIMiVjBQcw93ERBE4m30iBm00nkL0i8=\ngolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c/go.mod h1:NqM8EUOU14njkJ3fqMW+pc6Ldnwhi/IjpwHt7yyuwOQ=\nrsc.io/quote v1.5.2 h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=\nrsc.io/quote v1.5.2/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=\nrsc.io/sampler v1.3.0 h1:7uVkIFmeBqHfdjD+gZwtXXI+RODJ2Wc4O7MPEh/QiW4=\nrsc.io/sampler v1.3.0/go.mod h1:T1hPZKmBbMNahiBKFy5HrXp6adAjACjK9JXDnKaTXpA=\n',
    'main.go': uses,
  });
  const built = await source.run('go', 'build', proxy);
  assert.equal(built.code, 0, built.output);
  // The module greets in the language of these variables.
  const env = { LANG: 'en', LC_ALL: 'en' };
  assert.equal((await execa(join(source.layers, 'commands/bin/quoting'), { env })).stdout, 'Hello, world.');
  const again = await source.run('go', 'build', { ...proxy, GOPROXY: 'off' });
  assert.equal(again.code, 0, again.output);
});

test('go: before the layer with the modules is kept for the next build, the build deletes archives of modules, unused versions of Go and the tests of the used version', async () => {
  await using source = await aSource({
    'go.mod': 'module example.org/wikibot\n\ngo 1.21\n',
    'main.go': main,
  });
  const { stdout: version } = await execa(go, ['env', 'GOVERSION'], { env: { GOTOOLCHAIN: 'local' } });
  const mod = join(source.layers, 'modules/pkg/mod');
  const used = `golang.org/toolchain@v0.0.1-${version}.linux-amd64`;
  const kept = [
    `${used}/src/cmdline/cmdline.go`,
    `${used}/src/fmt/print.go`,
    'cache/download/rsc.io/quote/@v/v1.5.2.ziphash',
    'rsc.io/quote@v1.5.2/testdata/quotes',
    'rsc.io/quote@v1.5.2/quote_test.go',
  ];
  const removed = [
    `${used}/src/cmd/go/main.go`,
    `${used}/src/fmt/fmt_test.go`,
    `${used}/src/fmt/testdata/numbers`,
    'golang.org/toolchain@v0.0.1-go1.22.0.linux-amd64/bin/go',
    'cache/download/rsc.io/quote/@v/v1.5.2.zip',
  ];
  for (const path of [...kept, ...removed]) {
    await mkdir(dirname(join(mod, path)), { recursive: true });
    await writeFile(join(mod, path), '');
  }
  // Go makes the folders of downloaded versions read-only. Root may delete these files, but a build does not run as root.
  await chmod(join(mod, used, 'src/fmt'), 0o555);
  const built = await source.run('go', 'build', proxy);
  assert.equal(built.code, 0, built.output);
  assert.deepEqual(
    [...kept, ...removed].filter((path) => existsSync(join(mod, path))),
    kept,
  );
  assert.equal((await stat(join(mod, used, 'src/fmt'))).mode & 0o700, 0o700);
});

test('go: the modules of a go.work are compiled; a tool that has a Procfile and does not listen gets no web process', async () => {
  await using source = await aSource({
    'go.work': 'go 1.21\r\n\r\nuse (\r\n\t./server\r\n\t./update\r\n)\r\n',
    'server/go.mod': 'module example.org/server\n\ngo 1.21\n',
    'server/main.go': main,
    'update/go.mod': 'module example.org/update\n\ngo 1.21\n',
    'update/main.go': main,
  });
  assert.equal((await source.run('go', 'detect')).output, 'go 1.21 (go.work)');
  const built = await source.run('go', 'build', proxy);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /commands: server update\n\s+web: server \(.* such as `web: update`\)/);
  await using bot = await aSource({
    'go.mod': 'module example.org/wikibot\n\ngo 1.21\n',
    'main.go': main,
    Procfile: 'worker: wikibot\n',
  });
  const botBuilt = await bot.run('go', 'build', proxy);
  assert.equal(botBuilt.code, 0, botBuilt.output);
  assert.match(botBuilt.output, /commands: wikibot$/);
  await assert.rejects(bot.processes(), { code: 'ENOENT' });
});

test('go: if Go downloads another version of itself, the push shows what Go prints, and the build records only the version', {
  skip: go === '' && 'go is not installed',
}, async () => {
  await using source = await aSource({
    'go.mod': 'module example.org/wikibot\n\ngo 1.21\n',
    'main.go': main,
    'path/go': `#!/bin/sh\necho 'go: downloading go1.25.5 (linux/amd64)' >&2\nexec ${go} "$@"\n`,
  });
  await chmod(join(source.folder, 'path/go'), 0o755);
  const built = await source.run('go', 'build', { ...proxy, PATH: `${source.folder}/path:/usr/bin:/bin` });
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, / {7}go: downloading go1\.25\.5 .*\n-----> Compiling with Go 1\.\d+\S*\n/);
  const layer = await readFile(join(source.layers, 'commands.toml'), 'utf8');
  assert.match(layer, /^version = "1\.[\d.]+"$/m);
});

test('go: comments in go.mod that Heroku defines, such as +heroku install, choose the version of Go and the packages that are built', async () => {
  await using source = await aSource({
    'go.mod':
      'module example.org/bots\n\n// +heroku goVersion =1.99\n// +heroku install ./cmd/list\n\ngo 1.21\n',
    'cmd/list/main.go': `//go:build heroku\n\n${main}`,
    'cmd/update/main.go': main,
  });
  assert.equal((await source.run('go', 'detect')).output, 'go 1.99 (go.mod)');
  const built = await source.run('go', 'build', proxy);
  assert.match(built.output, /go1\.99\.0/);
  const local = await source.run('go', 'build', { ...proxy, GOTOOLCHAIN: 'local' });
  assert.equal(local.code, 0, local.output);
  assert.match(local.output, /commands: list\n/);
});

for (const [title, change, says] of [
  [
    'code that does not compile',
    { 'main.go': 'package main\n\nfunc main() { undefinedFunction() }\n' },
    /main\.go:3:15: undefined: undefinedFunction/,
  ],
  [
    'a package that go.mod lacks',
    { 'main.go': 'package main\n\nimport _ "rsc.io/quote"\n\nfunc main() {}\n' },
    / !\s+go\.mod has no line for rsc\.io\/quote: run `go mod tidy`/,
  ],
  [
    'a package that go.sum lacks',
    {
      'go.mod': 'module example.org/wikibot\n\ngo 1.21\n\nrequire rsc.io/quote v1.5.2\n',
      'main.go': 'package main\n\nimport _ "rsc.io/quote"\n\nfunc main() {}\n',
    },
    / !\s+go\.sum has no line for rsc\.io\/\w+.*: run `go mod tidy`/,
  ],
  [
    'a folder vendor that does not match go.mod',
    {
      'go.mod': 'module example.org/wikibot\n\ngo 1.21\n\nrequire rsc.io/quote v1.5.2\n',
      'vendor/modules.txt': '# rsc.io/quote v1.5.1\n## explicit\nrsc.io/quote\n',
    },
    / !\s+The folder vendor does not match go\.mod: run `go mod vendor`/,
  ],
  [
    'a library without a command',
    { 'main.go': 'package wikibot\n' },
    /There is no program to compile, because no folder has a file with `package main`/,
  ],
  [
    'a Go version that does not exist',
    { 'go.mod': 'module example.org/wikibot\n\ngo 1.99.0\n' },
    / !\s+go\.mod asks for Go 1\.99\.0, which cannot be downloaded/,
  ],
] as const) {
  test(`go: the build fails with the reason: ${title}`, async () => {
    await using source = await aSource({
      'go.mod': 'module example.org/wikibot\n\ngo 1.21\n',
      'main.go': main,
      ...change,
    });
    const built = await source.run('go', 'build', proxy);
    assert.notEqual(built.code, 0);
    assert.match(built.output, says);
  });
}

test('go: Go files without a go.mod, and a go.mod in a folder or without a module, are not used, and a note says so', async () => {
  await using source = await aSource({ 'main.go': main });
  const { code, output } = await source.run('go', 'detect');
  assert.deepEqual(
    [code, output],
    [
      100,
      'note: main.go is not used, because there is no go.mod. To make one, run: go mod init example.org/NAME && go mod tidy',
    ],
  );
  await using below = await ASource.of({ 'server/go.mod': 'module example.org/server\n' });
  assert.match((await below.run('go', 'detect')).output, /^note: server\/go\.mod .*go work init \.\/server$/);
  await using broken = await aSource({ 'go.mod': 'modul x\n' });
  assert.match(
    (await broken.run('go', 'detect')).output,
    /^note: go\.mod is not used, because it has no line such as/,
  );
});
