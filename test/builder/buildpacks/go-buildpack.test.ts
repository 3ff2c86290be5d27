import assert from 'node:assert/strict';
import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { ASource } from './run-buildpack.ts';

const main = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n';
const proxy = Object.fromEntries(
  ['GOPROXY', 'GOSUMDB', 'GONOSUMDB', 'SSL_CERT_FILE'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  }),
);

test('go: the only command of a module is the web process, and a Procfile may name the command with or without bin', async () => {
  await using source = await ASource.of({
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

test('go: of several commands, server is the web process; if there is no server, the push asks for a Procfile', async () => {
  const files = { 'go.mod': 'module example.org/bots\n\ngo 1.21\n', 'cmd/update/main.go': main };
  await using with_ = await ASource.of({ ...files, 'cmd/server/main.go': main });
  assert.equal((await with_.run('go', 'build', proxy)).code, 0);
  assert.deepEqual(await with_.processes(), { web: ['server'] });
  await using without = await ASource.of({ ...files, 'cmd/list/main.go': main });
  const built = await without.run('go', 'build', proxy);
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /commands: list update\n !\s+No file says which of the commands serves requests: .*`web: list`/,
  );
});

test('go: a module from the module proxy is fetched once, and a vendored module needs no network', async () => {
  const uses =
    'package main\n\nimport (\n\t"fmt"\n\n\t"rsc.io/quote"\n)\n\nfunc main() { fmt.Println(quote.Hello()) }\n';
  await using source = await ASource.of({
    'go.mod':
      'module example.org/quoting\n\ngo 1.21\n\nrequire rsc.io/quote v1.5.2\n\nrequire (\n\tgolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c // indirect\n\trsc.io/sampler v1.3.0 // indirect\n)\n',
    'go.sum':
      'golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c h1:qgOY6WgZOaTkIIMiVjBQcw93ERBE4m30iBm00nkL0i8=\ngolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c/go.mod h1:NqM8EUOU14njkJ3fqMW+pc6Ldnwhi/IjpwHt7yyuwOQ=\nrsc.io/quote v1.5.2 h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=\nrsc.io/quote v1.5.2/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=\nrsc.io/sampler v1.3.0 h1:7uVkIFmeBqHfdjD+gZwtXXI+RODJ2Wc4O7MPEh/QiW4=\nrsc.io/sampler v1.3.0/go.mod h1:T1hPZKmBbMNahiBKFy5HrXp6adAjACjK9JXDnKaTXpA=\n',
    'main.go': uses,
  });
  const built = await source.run('go', 'build', proxy);
  assert.equal(built.code, 0, built.output);
  assert.equal((await execa(join(source.layers, 'commands/bin/quoting'))).stdout, 'Ahoy, world!');
  const again = await source.run('go', 'build', { ...proxy, GOPROXY: 'off' });
  assert.equal(again.code, 0, again.output);
});

for (const [title, change, says] of [
  [
    'code that does not compile',
    { 'main.go': 'package main\n\nfunc main() { undefinedFunction() }\n' },
    /main\.go:3:15: undefined: undefinedFunction/,
  ],
  [
    'a requirement that go.sum lacks',
    { 'main.go': 'package main\n\nimport _ "rsc.io/quote"\n\nfunc main() {}\n' },
    /rsc\.io\/quote/,
  ],
  [
    'a library without a command',
    { 'main.go': 'package wikibot\n' },
    /There is no program to compile, because no folder has a file with `package main`/,
  ],
  ['a Go version that does not exist', { 'go.mod': 'module example.org/wikibot\n\ngo 1.99.0\n' }, /1\.99/],
] as const) {
  test(`go: the build fails with the reason: ${title}`, async () => {
    await using source = await ASource.of({
      'go.mod': 'module example.org/wikibot\n\ngo 1.21\n',
      'main.go': main,
      ...change,
    });
    const built = await source.run('go', 'build', proxy);
    assert.notEqual(built.code, 0);
    assert.match(built.output, says);
  });
}

test('go: files without a go.mod are not used, nor is a go.mod without a module, and a hint says why', async () => {
  await using source = await ASource.of({ 'main.go': main });
  const { code, output } = await source.run('go', 'detect');
  assert.deepEqual(
    [code, output],
    [100, 'note: main.go is not used, because there is no go.mod. To make one, run: go mod init'],
  );
  await using broken = await ASource.of({ 'go.mod': 'modul x\n' });
  assert.match(
    (await broken.run('go', 'detect')).output,
    /^note: go\.mod is not used, because it has no line such as/,
  );
});
