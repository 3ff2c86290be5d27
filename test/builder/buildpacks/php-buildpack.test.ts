import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { ASource } from './run-buildpack.ts';

const skip =
  ['/usr/bin/composer', '/usr/sbin/apache2', '/usr/sbin/lighttpd'].some((program) => !existsSync(program)) &&
  'needs PHP, Composer, Apache and lighttpd: bash test/setup.sh installs them';
const page = '<?php echo "hello";\n';
const rules = 'url.rewrite-once += ( "^/page/([a-z]+)$" => "/index.php?page=$1" )\n';
const here = skip
  ? ''
  : (await execa('php', ['-n', '-r', 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;'])).stdout;

for (const { title, files, says } of [
  { title: 'a page at the top', files: { 'index.php': page }, says: 'php' },
  {
    title: 'composer.json',
    files: { 'composer.json': '{"require":{"php":"^8.1 || ^9"}}' },
    says: 'php ^8.1 || ^9 (composer.json)',
  },
  {
    title: 'service.template beside a public_html',
    files: { 'public_html/a.php': page, 'service.template': 'backend: kubernetes\r\ntype: php8.2\r\n' },
    says: 'php 8.2 (service.template)',
  },
  {
    title: 'service.template in public_html',
    files: { 'public_html/index.html': '', 'public_html/service.template': 'type: "php8.4"\n' },
    says: 'php 8.4 (public_html/service.template)',
  },
  { title: 'a Procfile', files: { Procfile: 'web: heroku-php-apache2 site/\n' }, says: 'php' },
  {
    title: '.tool-versions',
    files: { 'index.php': page, '.tool-versions': 'node 22\nphp 8.3.1\n' },
    says: 'php 8.3.1 (.tool-versions)',
  },
  {
    title: 'an empty .php-version',
    files: { 'index.php': page, '.php-version': '\n' },
    says: 'php\nnote: .php-version is empty, so it chooses no version of PHP',
  },
  {
    title: 'files that have no effect',
    files: {
      'index.php': page,
      'php.ini': '',
      '.lighttpd.conf': '# nothing\n',
      'public_html/.lighttpd.conf': rules,
      '.htaccess': 'php_flag display_errors on\n',
    },
    says: [
      'php',
      'note: php.ini is not used: write the settings into a file .user.ini in the folder that is served',
      'note: public_html/.lighttpd.conf has no effect: move it to the top of the repository',
      'note: php_value and php_flag in .htaccess have no effect: write them into a file .user.ini beside it',
    ].join('\n'),
  },
  {
    title: '.htaccess beside .lighttpd.conf',
    files: { 'public_html/index.php': page, 'public_html/.htaccess': '', '.lighttpd.conf': rules },
    says: 'php\nnote: public_html/.htaccess has no effect, because lighttpd serves the tool with .lighttpd.conf',
  },
  {
    title: '.lighttpd.conf beside a web line',
    files: { 'index.php': page, '.lighttpd.conf': rules, Procfile: 'web: heroku-php-apache2\n' },
    says: 'php\nnote: .lighttpd.conf has no effect, because the web line of the Procfile starts another web server',
  },
]) {
  test(`php: the buildpack takes part, and prints the version of PHP and notes: ${title}`, async () => {
    await using source = await ASource.of(files);
    const { code, output } = await source.run('php', 'detect');
    assert.deepEqual({ code, output }, { code: 0, output: says });
  });
}

test('php and composer do not take part in a tool of another language, although it has a composer.json', async () => {
  await using source = await ASource.of({
    'composer.json': '{"require-dev":{"tools/linter":"*"}}',
    'requirements.txt': 'flask\n',
    'app.py': '',
    'templates/page.php.txt': '',
  });
  const { code, output } = await source.run('php', 'detect');
  assert.deepEqual({ code, output }, { code: 100, output: '' });
  assert.match((await source.run('composer', 'detect')).output, /^note: composer\.json is not used, because/);
});

for (const { title, files, root } of [
  { title: 'public before the top', files: { 'public/index.php': page, 'index.php': page }, root: 'public' },
  { title: 'the top before a folder of assets', files: { 'public/a.css': '', 'index.php': page }, root: '.' },
  { title: 'htdocs', files: { 'htdocs/index.php': page }, root: 'htdocs' },
  {
    title: 'a folder with index.html and a PHP file that is not index.php',
    files: { 'web/index.html': '', 'web/api.php': page },
    root: 'web',
  },
  {
    title: 'project.toml',
    files: {
      'index.php': page,
      'site/a.php': page,
      'project.toml': '[_]\nid = "x"\n\n[php]\ndocument-root = "site/"\n',
    },
    root: 'site',
  },
]) {
  test(`php: the build chooses the folder that is served: ${title}`, { skip }, async () => {
    await using source = await ASource.of(files);
    const built = await source.run('php', 'build');
    assert.equal(built.code, 0, built.output);
    assert.deepEqual(await source.processes(), { web: ['heroku-php-apache2', root] });
  });
}

for (const { title, conf, reads = conf } of [
  { title: 'rewrite rules', conf: rules },
  {
    title: 'settings that Toolforge sets before',
    conf: 'index-file.names = ( "a.php" )\n$HTTP["url"] =~ "^/a" {\n  dir-listing.activate = "enable"\n}\n',
    reads: 'index-file.names := ( "a.php" )\n$HTTP["url"] =~ "^/a" {\n  dir-listing.activate = "enable"\n}\n',
  },
  {
    title: 'files of the home folder, and a log',
    conf: 'server.error-handler-404 = "/data/project/words/lost.html"\naccesslog.filename = "/data/project/words/a.log"\n',
    reads: 'server.error-handler-404 := "" + env.PWD + "/lost.html"\n#\n',
  },
  { title: 'a media type that the system has, too', conf: 'mimetype.assign += ( ".pl" => "text/html" )\n' },
  {
    title: 'a PHP of its own',
    conf: 'fastcgi.server += ( ".php" => (( "bin-path" => "/bin/sh", "socket" => "/tmp/php" )) )\n',
  },
]) {
  test(`php: lighttpd serves a tool with a .lighttpd.conf: ${title}`, { skip }, async () => {
    await using source = await ASource.of({ 'public_html/index.php': page, '.lighttpd.conf': conf });
    const built = await source.run('php', 'build');
    assert.equal(built.code, 0, built.output);
    assert.deepEqual(await source.processes(), { web: ['php-lighttpd', 'public_html'] }, built.output);
    assert.equal(await readFile(join(source.layers, 'php/rules.conf'), 'utf8'), reads);
  });
}

test('php: if lighttpd cannot use a .lighttpd.conf, the push says why, and Apache serves the tool', {
  skip,
}, async () => {
  await using source = await ASource.of({
    'public_html/index.php': page,
    '.lighttpd.conf':
      'index-file.names += ( "app.php" )\n\nurl.rewrite += ( "^/" => "/app.php", (.*)" => "/" )\n',
  });
  const built = await source.run('php', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /^ ! {5}\.lighttpd\.conf has no effect, because lighttpd cannot use it: invalid character in variable name \(line 3\)\. Apache serves the tool\.$/m,
  );
  assert.deepEqual(await source.processes(), { web: ['heroku-php-apache2', 'public_html'] });
});

test('php: a tool without pages has no web process', { skip }, async () => {
  await using source = await ASource.of({ 'composer.json': '{}', 'bot/run.php': page });
  assert.equal((await source.run('php', 'build')).code, 0);
  assert.equal(existsSync(join(source.layers, 'launch.toml')), false);
});

test('php: the files of a bot at the top of the source are not served as pages if a jobs.yaml or service.template starts the bot', {
  skip,
}, async () => {
  const bot = { 'bot.php': page, 'jobs.yaml': '- command: php bot.php\n' };
  for (const [files, isServed] of [
    [bot, false],
    [{ ...bot, 'index.php': page }, true],
    [{ ...bot, 'service.template': 'type: php8.2\n' }, true],
    [{ 'bot.php': page, 'service.template': 'type: bookworm\nextra_args: [php, bot.php]\n' }, false],
    [{ 'bot.php': page, 'service.template': 'type: php8.2\nextra_args: [x]\n' }, true],
    [{ 'index.html': '', 'bot/run.php': page, 'jobs.yaml': '- command: php bot/run.php\n' }, false],
  ] as const) {
    await using source = await ASource.of(files);
    assert.equal((await source.run('php', 'build')).code, 0);
    assert.equal(existsSync(join(source.layers, 'launch.toml')), isServed);
  }
});

test('php: if a version file asks for an older minor version, the newer PHP of the server is used with a warning', {
  skip,
}, async () => {
  await using source = await ASource.of({ 'index.php': page, '.php-version': '8.0\n' });
  const { code, output } = await source.run('php', 'build');
  assert.equal(code, 0);
  assert.match(
    output,
    /^ ! {5}\.php-version line 1 asks for PHP 8\.0, but this server has only PHP 8\.\d\. It uses PHP 8\.\d\.$/m,
  );
});

for (const { title, files, says } of [
  {
    title: 'a version that is not available',
    files: { 'index.php': page, 'service.template': 'backend: kubernetes\ntype: php7.4\n' },
    says: `service.template line 2 asks for PHP 7.4, but this server has only PHP ${here}. Write ${here} there, if the tool also runs on it.`,
  },
  {
    title: 'a version file with a word',
    files: { 'index.php': page, '.php-version': 'stable\n' },
    says: '.php-version line 1: "stable" is not a version of PHP. Write a number such as 8.4.',
  },
  {
    title: 'a range that excludes the PHP of the system',
    files: {
      'composer.json':
        '{\n  "require": {\n    "php": "^7.4"\n  },\n "config": {"platform": {"php": "7.4.33"}}}',
    },
    says: `composer.json line 3 requires PHP ^7.4, but this server has only PHP ${here}. Write "^${here}" there, if the tool also runs on it, and run composer update.`,
  },
  {
    title: 'an extension that the system lacks',
    files: { 'composer.json': '{\n  "require": {\n    "ext-json": "*",\n    "ext-wikitext": "*"\n  }\n}' },
    says: 'composer.json line 4 requires the PHP extension wikitext, which this server does not have. Write php-wikitext into a file Aptfile, or remove the requirement.',
  },
  {
    title: 'a package whose extension the system lacks',
    files: {
      'composer.json': '{"require": {"tools/parser": "*"}}',
      'composer.lock': '{"packages": [{"name": "tools/parser", "require": {"ext-wikitext": "*"}}]}',
    },
    says: 'tools/parser in composer.lock requires the PHP extension wikitext, which this server does not have. Write php-wikitext into a file Aptfile, or remove the requirement.',
  },
  {
    title: 'a folder that does not exist',
    files: { 'index.php': page, 'project.toml': '[php]\ndocument-root = "htdoc"\n' },
    says: 'document-root in project.toml asks for the folder htdoc, which is not in the repository. Correct document-root.',
  },
]) {
  test(`php: the build fails with the reason: ${title}`, { skip }, async () => {
    await using source = await ASource.of(files);
    const built = await source.run('php', 'build');
    assert.equal(built.code, 1, built.output);
    assert.equal(built.output.split('\n').at(-1), ` !     ${says}`);
  });
}

test('php: an extension that composer.json requires may come from a package in composer.lock that provides it', {
  skip,
}, async () => {
  await using source = await ASource.of({
    'composer.json': '{"require": {"ext-wikitext": "*"}}',
    'composer.lock': '{"packages": [{"name": "tools/polyfill", "provide": {"ext-wikitext": "*"}}]}',
  });
  assert.equal((await source.run('php', 'build')).code, 0);
});

test('php: an extension in a Debian package that the apt buildpack has installed is enabled', {
  skip,
}, async () => {
  await using source = await ASource.of({ 'index.php': page });
  const api = (await execa('php', ['-n', '-r', 'echo basename(PHP_EXTENSION_DIR);'])).stdout;
  const file = join(source.layers, 'toolforge_apt/apt/usr/lib/php', api, 'mongodb.so');
  await execa('install', ['-D', '/dev/null', file]);
  const layers = join(source.layers, 'toolforge_php');
  const built = await source.run('php', 'build', { CNB_LAYERS_DIR: layers });
  assert.match(built.output, /^ {7}extensions of Debian packages: mongodb$/m);
  assert.equal(await readFile(join(layers, 'php/conf.d/20-mongodb.ini'), 'utf8'), `extension=${file}\n`);
});

test('composer: a composer.json that requires only PHP and extensions is built without a lock file and without a warning', {
  skip,
}, async () => {
  await using source = await ASource.of({
    'composer.json': '{"require": {"php": ">=8.0", "ext-json": "*"}}',
  });
  const built = await source.run('composer', 'build');
  assert.equal(built.code, 0, built.output);
  assert.doesNotMatch(built.output, /There is no composer\.lock/);
  assert.equal(existsSync(join(source.folder, 'vendor/autoload.php')), true);
});

const library = '{ "name": "tools/words", "version": "1.0.0" }';
const uses = (version: string) =>
  `{\n  "require": { "tools/words": "${version}" },\n  "repositories": [{ "type": "path", "url": "words" }]\n}\n`;

test('composer: without a lock file, the push warns', { skip }, async () => {
  await using source = await ASource.of({ 'composer.json': uses('*'), 'words/composer.json': library });
  const built = await source.run('composer', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /^ ! {5}There is no composer\.lock: the next build may install other versions\./m,
  );
});

for (const { title, files, env, says } of [
  {
    title: 'a composer.json that is not JSON',
    files: { 'composer.json': '{\n  "require": {\n    "php": "^8.1",\n  }\n}\n' },
    says: /^composer\.json line 4 is not valid JSON: a comma too many\.$/,
  },
  {
    title: 'a composer.lock with conflict markers',
    files: { 'composer.json': '{}', 'composer.lock': '{\n<<<<<<< HEAD\n  "packages": []\n}\n' },
    says: /^composer\.lock line 2 is not valid JSON: unexpected text\.$/,
  },
  {
    title: 'a lock file that lacks a package',
    files: {
      'composer.json': uses('*'),
      'composer.lock': '{"packages": [], "content-hash": "0"}',
      'words/composer.json': library,
    },
    says: /^composer\.lock lacks tools\/words, which composer\.json requires\. Run composer update tools\/words and commit composer\.lock\.$/,
  },
  {
    title: 'a lock file with a version that composer.json excludes',
    files: {
      'composer.json': uses('^2'),
      'composer.lock': `{"packages": [{"name": "tools/words", "version": "1.0.0", "dist": {"type": "path", "url": "words"}}], "content-hash": "0"}`,
      'words/composer.json': library,
    },
    says: /^composer\.lock has tools\/words 1\.0\.0, but composer\.json requires \^2\. Run composer update tools\/words/,
  },
  {
    title: 'a version that does not exist',
    files: {
      'composer.json': uses('^3').replace('"words" }', '"words" }, { "packagist.org": false }'),
      'words/composer.json': library,
    },
    says: /^Root composer\.json requires tools\/words \^3, found tools\/words\[1\.0\.0\] but it does not match the constraint\.$/,
  },
  {
    title: 'a script that fails',
    files: {
      'composer.json':
        '{"scripts": {"post-autoload-dump": "@php -r \\"fwrite(STDERR, \'the key is missing\'); exit(3);\\""}}',
    },
    says: /^the script post-autoload-dump of composer\.json failed: the key is missing\.$/,
  },
  {
    title: 'a server of packages that cannot be reached',
    files: { 'composer.json': '{"require": {"tools/unknown": "*"}}' },
    env: { COMPOSER_MIRROR: 'http://127.0.0.1:1' },
    says: /^Composer cannot download http:\/\/127\.0\.0\.1:1\/packages\.json: /,
  },
]) {
  test(`composer: the build fails with the reason: ${title}`, { skip }, async () => {
    await using source = await ASource.of(files);
    const built = await source.run('composer', 'build', env);
    assert.equal(built.code, 1, built.output);
    const last = built.output.split('\n').at(-1) ?? '';
    assert.match(last, /^ ! {5}/, built.output);
    assert.match(last.replace(/^ !\s+/, ''), says, built.output);
  });
}
