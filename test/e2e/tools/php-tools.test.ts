import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { pushFixture } from './push-fixture.ts';

const missing = [
  '/usr/bin/php',
  '/usr/bin/composer',
  '/usr/sbin/apache2',
  '/usr/sbin/nginx',
  '/usr/sbin/lighttpd',
].filter((program) => !existsSync(program));
const skip = missing.length > 0 && `needs ${missing.join(', ')}: bash test/setup.sh installs them`;

let server: TestServer;
before(async () => {
  if (skip === false) server = await TestServer.start();
});
after(async () => server?.[Symbol.asyncDispose]());

test('a tool with public_html and cgi-bin runs PHP and CGI programs and sends other files, except hidden files and programs outside cgi-bin', {
  skip,
}, async () => {
  const tool = 'php-public-html';
  const { first: pushed } = await pushFixture(server, tool);
  assert.match(pushed, /php 8\.2 \(service\.template\)/);
  assert.match(pushed, /web: php-lighttpd public_html/);
  const home = await server.get(tool);
  assert.match(home.body, /^Hello from PHP, major version 8\npath \/, visit 1\n/);
  assert.match((await server.get(tool, '/any/path?x=1')).body, /^path \/any\/path, visit 1$/m);
  assert.match((await server.get(tool, '/index.php/more')).body, /^path \/index\.php\/more/m);
  assert.equal((await server.get(tool, '/style/page.css')).body, 'body { color: #36c }\n');
  assert.equal((await server.get(tool, '/.env')).status, 403);
  assert.equal((await server.get(tool, '/cgi-bin/hello.py')).body, 'Hello from CGI\n');
  assert.match(pushed, /public_html\/config\.py does not run and is not sent, because it is a program/);
  assert.equal((await server.get(tool, '/config.py')).status, 403);
  assert.match((await server.get(tool, '/lost.py')).body, /^path \/lost\.py/m);
});

test('a request for a PHP file with a syntax error gets 500, and the tool’s log says why', {
  skip,
}, async () => {
  assert.equal((await server.get('php-public-html', '/broken.php')).status, 500);
  const { stdout } = await server.command('logs', 'php-public-html');
  assert.match(
    stdout,
    /PHP Parse error: {2}syntax error, .* in \/workspace\/public_html\/broken\.php on line 2/,
  );
});

test('a PHP tool with a front controller and packages of composer.lock answers', { skip }, async () => {
  const tool = 'php-composer';
  const { first: pushed } = await pushFixture(server, tool);
  assert.match(pushed, /php \^8\.1 \(composer\.json\) · composer/);
  assert.match(pushed, /web: heroku-php-apache2 public/);
  assert.equal((await server.get(tool)).body, 'built by a script, compiled, linter: no\n');
  assert.equal((await server.get(tool, '/hello/jane')).body, 'Hello, Jane\n');
  assert.equal((await server.get(tool, '/nowhere')).status, 404);
});

test('`heroku-php-apache2` in a Procfile follows .htaccess and .user.ini', { skip }, async () => {
  const tool = 'php-apache';
  const { first: pushed } = await pushFixture(server, tool);
  assert.match(pushed, /php_value and php_flag in web\/\.htaccess have no effect/);
  assert.match((await server.get(tool)).body, /A page without PHP/);
  assert.equal((await server.get(tool, '/pages/about')).body, 'page about, memory 192M, curl yes\n');
  assert.equal((await server.get(tool, '/nowhere')).status, 404);
  assert.equal((await server.command('run', tool, 'count')).stdout.trim(), '55');
});

test('`heroku-php-nginx` in a Procfile follows the nginx and PHP configuration of the tool', {
  skip,
}, async () => {
  await pushFixture(server, 'php-nginx');
  assert.equal((await server.get('php-nginx', '/a/b')).body, 'nginx and PHP answer /a/b, memory 160M\n');
});

test('a page of one tool uses PHP, Python and Perl; neither .git nor the files that list the tool’s packages are served', {
  skip,
}, async () => {
  const { first: pushed } = await pushFixture(server, 'php-python-perl');
  assert.match(pushed, /python 3\.\d+ .*· pip · php/);
  assert.equal(
    (await server.get('php-python-perl')).body,
    'PHP says hello\nPython says hello, venv: True\nPerl says Hello\n',
  );
  for (const path of ['/requirements.txt', '/composer.json', '/.git/config', '/vendor/autoload.php'])
    assert.doesNotMatch((await server.get('php-python-perl', path)).body, /require|\[core\]/);
});
