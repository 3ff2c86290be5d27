import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ASource } from './run-buildpack.ts';

const psgi = "use strict;\nsub { [200, ['Content-Type' => 'text/plain'], ['hello']] };\n";
const mojo = "use Mojolicious::Lite;\nget '/' => { text => 'hello' };\napp->start;\n";
const script = '#!/usr/bin/perl\nprint "Content-Type: text/plain\\n\\nhello\\n";\n';
/** No mirror answers here, so a module that is not installed cannot be fetched. */
const offline = { PERL_CPANM_OPT: '--mirror file:///nowhere --mirror-only' };

for (const [title, files, starts] of [
  ['app.psgi', { 'app.psgi': psgi }, /exec starman --listen :\$PORT .* app\.psgi$/],
  ['a PSGI file in bin', { 'bin/wiki.psgi': psgi, 'lib/Wiki.pm': '1;' }, / bin\/wiki\.psgi$/],
  ['Mojolicious::Lite', { 'wiki.pl': mojo }, /^exec perl wiki\.pl daemon --listen http:\/\/\*:\$PORT$/],
  [
    'a program of a Mojolicious application',
    {
      'script/wiki':
        'use FindBin;\nuse lib "$FindBin::Bin/../lib";\nuse Mojolicious::Commands;\nMojolicious::Commands->start_app("Wiki");\n',
      'lib/Wiki.pm': 'package Wiki;\nuse Mojo::Base "Mojolicious";\n1;\n',
    },
    /^exec perl script\/wiki daemon/,
  ],
  ['a program that listens by itself', { 'serve.pl': 'my $port = $ENV{PORT};\n' }, /^exec perl serve\.pl$/],
] as const) {
  test(`perl: the web process starts ${title}`, async () => {
    await using source = await ASource.of(files);
    assert.equal((await source.run('perl', 'detect')).code, 0);
    const built = await source.run('perl', 'build');
    assert.equal(built.code, 0, built.output);
    assert.match((await source.processes())['web']?.[2] ?? '', starts);
  });
}

for (const [title, files] of [
  ['a helper script beside a requirements.txt', { 'requirements.txt': '', 'release.pl': 'print 1;' }],
  ['a Makefile.PL that is not Perl', { 'Makefile.PL': 'all:\n' }],
  ['a web site', { 'index.html': '<h1>hello' }],
] as const) {
  test(`perl: the buildpack does not take part for ${title}`, async () => {
    await using source = await ASource.of(files);
    assert.equal((await source.run('perl', 'detect')).code, 100);
  });
}

test('perl: requirements that Perl already meets, and requirements of tests, are not fetched', async () => {
  await using source = await ASource.of({
    cpanfile:
      "requires 'Plack', '1.0';\nrequires 'JSON::PP';\non 'test' => sub { requires 'No::Such::Test' };\ntest_requires 'No::Such::Other';\n",
    'app.psgi': `use Plack::Request;\n${psgi}`,
  });
  const built = await source.run('perl', 'build', offline);
  assert.equal(built.code, 0, built.output);
  const again = await source.run('perl', 'build', offline);
  assert.match(again.output, /Reusing the installed modules: cpanfile has not changed/);
});

for (const [title, files, says] of [
  [
    'a module that the web process uses and nothing provides',
    { 'app.psgi': `use DBI;\nuse No::Such::Module qw(name);\n${psgi}`, 'lib/DBI.pm': '1;' },
    /^ ! {5}app\.psgi line 2 uses No::Such::Module, which nothing provides: add `requires 'No::Such::Module';` to a cpanfile, or libno-such-module-perl to an Aptfile\.$/m,
  ],
  [
    'a module that a module of the tool uses',
    {
      'app.psgi': `use lib 'lib';\nuse Wiki::Page;\n${psgi}`,
      'lib/Wiki/Page.pm': 'package Wiki::Page;\n\nuse No::Such;\n1;\n',
    },
    /^ ! {5}lib\/Wiki\/Page\.pm line 3 uses No::Such, which nothing provides/m,
  ],
  [
    'a requirement that does not exist',
    { 'app.psgi': psgi, cpanfile: "requires 'No::Such::Module', '2.0';\n" },
    /^ ! {5}cpanfile requires No::Such::Module, which was not found: CPAN has no module of this name, or CPAN cannot be reached\./m,
  ],
  [
    'a newer Perl than the system has',
    { 'app.psgi': psgi, cpanfile: "requires 'perl', '5.98.0';\n" },
    /^ ! {5}cpanfile requires Perl 5\.98\.0, but this server has Perl 5\.\d+\.\d+/m,
  ],
  [
    'a cpanfile that is no Perl',
    { 'app.psgi': psgi, cpanfile: "requires 'Plack'\nrequires 'JSON';\n" },
    /^ ! {5}cpanfile cannot be read: .*line 2/m,
  ],
  [
    'CGI scripts that all lack a module',
    { 'cgi-bin/wiki.pl': `#!/usr/bin/perl\nuse No::Such;\nuse No::Other;\n` },
    /^ ! {5}cgi-bin\/wiki\.pl line 2 uses No::Such, which nothing provides/m,
  ],
] as const) {
  test(`perl: the build fails with the reason: ${title}`, async () => {
    await using source = await ASource.of(files);
    const built = await source.run('perl', 'build', offline);
    assert.equal(built.code, 1, built.output);
    assert.match(built.output, says);
  });
}

test('perl: a module need not be installed if only a here-document, documentation, text after __END__ or a require in an eval names it', async () => {
  await using source = await ASource.of({
    'app.psgi': `=pod\n\nuse No::Such;\n\n=cut\n\nmy $optional = eval { require No::Such };\nmy $text = <<'T';\nuse Firefox instead\nT\n${psgi}__END__\nuse No::Such;\n`,
  });
  const built = await source.run('perl', 'build');
  assert.equal(built.code, 0, built.output);
});

test('cgi: if one of several CGI scripts lacks a Perl module, the build only warns', async () => {
  await using source = await ASource.of({
    'cgi-bin/good.pl': script,
    'cgi-bin/old.pl': '#!/usr/bin/perl\nuse No::Such;\n',
  });
  const built = await source.run('perl', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /^ ! +cgi-bin\/old\.pl line 2 uses No::Such/m);
});

test('cgi: the build names scripts that cannot run; PHP tools and tools with a web line in the Procfile get no CGI server', async () => {
  await using source = await ASource.of({
    'cgi-bin/good.pl': script,
    'cgi-bin/data.txt': 'no script',
    'cgi-bin/plain.cgi': 'print "hello"\n',
    'cgi-bin/old.cgi': '#!/opt/basic/bin/basic\n',
  });
  assert.equal((await source.run('cgi', 'detect')).output, 'CGI scripts (cgi-bin)');
  const built = await source.run('cgi', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /plain\.cgi cannot be run: its first line must name a program, such as #!\/usr\/bin\/perl/,
  );
  assert.match(
    built.output,
    /old\.cgi cannot be run, because its first line names \/opt\/basic\/bin\/basic, which is not here/,
  );
  assert.doesNotMatch(built.output, /data\.txt/);
  for (const files of [{ 'index.php': '<?php' }, { Procfile: 'web: starman app.psgi\n' }]) {
    await using other = await ASource.of({ 'cgi-bin/good.pl': script, ...files });
    assert.equal((await other.run('cgi', 'detect')).code, 100);
  }
});

test('cgi: scripts in folders of public_html run, too', async () => {
  await using source = await ASource.of({
    'public_html/index.html': '',
    'public_html/stats/count.pl': script,
  });
  assert.equal((await source.run('cgi', 'detect')).output, 'CGI scripts (public_html/stats/count.pl)');
  assert.match((await source.run('cgi', 'build')).output, /^-----> Serving 1 CGI scripts$/m);
  await using other = await ASource.of({
    'public_html/venv/count.py': script,
    'public/js/count.py': script,
  });
  assert.equal((await other.run('cgi', 'detect')).code, 100);
});

test('cgi: the index script in cgi-bin answers requests for / unless public_html has an index page or script', async () => {
  const asked = async (files: Readonly<Record<string, string>>) => {
    await using source = await ASource.of({ 'cgi-bin/index.pl': script, ...files });
    const built = await source.run('cgi', 'build');
    assert.equal(built.code, 0, built.output);
    return /url\.rewrite-once/.test(await readFile(join(source.layers, 'server/lighttpd.conf'), 'utf8'));
  };
  assert.equal(await asked({}), true);
  assert.equal(await asked({ 'public_html/style.css': '' }), true);
  assert.equal(await asked({ 'public_html/index.html': '' }), false);
  assert.equal(await asked({ 'public_html/index.cgi': script }), false);
});

for (const { title, files, line } of [
  {
    title: 'CGI scripts, with the interpreter of the build',
    files: {
      'public_html/tool.py': '#!/usr/bin/python2\n',
      '.lighttpd.conf': 'cgi.assign += ( ".py" => "/data/project/words/venv/bin/python3" )\n',
    },
    line: /^cgi\.assign \+= \( "\.py" => "\/\S+\/python3" \)$/m,
  },
  {
    title: 'pages without scripts',
    files: {
      'public_html/data.json': '{}',
      '.lighttpd.conf': 'setenv.add-response-header = ( "Access-Control-Allow-Origin" => "*" )\n',
    },
    line: /^setenv\.add-response-header := \( "Access-Control-Allow-Origin" => "\*" \)$/m,
  },
]) {
  test(`cgi: lighttpd serves a tool with a .lighttpd.conf: ${title}`, async () => {
    await using source = await ASource.of(files);
    assert.equal((await source.run('cgi', 'detect')).code, 0);
    const built = await source.run('cgi', 'build');
    assert.doesNotMatch(built.output, / ! /);
    assert.match(await readFile(join(source.layers, 'server/rules.conf'), 'utf8'), line);
  });
}

test('cgi: a .lighttpd.conf does not turn a tool with another web server into a set of web pages', async () => {
  for (const file of ['package.json', 'app.py', 'go.mod']) {
    await using source = await ASource.of({
      [file]: '',
      'public_html/a.css': '',
      '.lighttpd.conf': 'a.b = "c"\n',
    });
    assert.equal((await source.run('cgi', 'detect')).code, 100, file);
  }
});
