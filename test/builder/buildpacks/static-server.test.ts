import assert from 'node:assert/strict';
import { once } from 'node:events';
import { symlink, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { productBuildpacks } from '../support/a-builder.ts';
import { ASource } from './run-buildpack.ts';

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

let source: ASource;
let outside: ASource;
let server: ReturnType<typeof serve>;
let port = 0;

function serve(folder: string, more: { idleSeconds: number } | null = null, options: readonly string[] = []) {
  const lib = join(productBuildpacks, 'static/lib');
  const patient = `import sys; sys.path.insert(0, ${JSON.stringify(lib)}); import serve; serve.Handler.timeout = ${more?.idleSeconds}; serve.main()`;
  return execa('python3', more === null ? ['-u', join(lib, 'serve.py'), ...options] : ['-uBc', patient], {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', PORT: '0', LANG: 'C.UTF-8' },
    extendEnv: false,
    all: true,
    buffer: false,
    reject: false,
  });
}

before(async () => {
  outside = await ASource.of({ secret: 'outside' });
  source = await ASource.of({
    'index.html': '<h1>home</h1>',
    '404.html': '<h1>lost</h1>',
    'docs/index.html': '<h1>docs</h1>',
    'no-index/page.html': 'page',
    'about.html': '<h1>about</h1>',
    'news.html': '<h1>news</h1>',
    'news/one.html': 'one',
    'a b é.txt': 'odd name',
    'app.js': 'let x;',
    'numbers.txt': '0123456789',
    'empty.css': '',
    '.env': 'SECRET=1',
    'app.json': '{}',
    Procfile: 'web: x',
    'docs/app.json': '{}',
    '.git/config': 'secret',
    'docs/.hidden/x.html': 'secret',
  });
  await symlink(join(outside.folder, 'secret'), join(source.folder, 'link-out'));
  await symlink(outside.folder, join(source.folder, 'folder-out'));
  await symlink('numbers.txt', join(source.folder, 'link-in'));
  await symlink('.env', join(source.folder, 'link-to-hidden'));
  await writeFile(join(source.folder, 'big.bin'), Buffer.alloc(3_000_000, 1));
  server = serve(source.folder);
  port = await portOf(server);
});

function portOf({ all }: ReturnType<typeof serve>): Promise<number> {
  return new Promise((resolve) => {
    createInterface(all).on('line', (line) => {
      const [, found] = /at port (\d+)/.exec(line) ?? [];
      if (found !== undefined) resolve(Number(found));
    });
  });
}

after(async () => {
  server.kill('SIGTERM');
  const { exitCode } = await server;
  await source[Symbol.asyncDispose]();
  await outside[Symbol.asyncDispose]();
  assert.equal(exitCode, 0, 'SIGTERM ends it well');
});

function get(
  path: string,
  options: { method?: string; headers?: Record<string, string>; port?: number } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, ...options }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: Buffer.concat(chunks).toString('latin1'),
        }),
      );
    });
    sent.on('error', reject).end();
  });
}

for (const { path, status, body, type } of [
  { path: '/', status: 200, body: '<h1>home</h1>', type: 'text/html; charset=utf-8' },
  { path: '/index.html?x=1', status: 200, body: '<h1>home</h1>', type: 'text/html; charset=utf-8' },
  { path: '/docs/', status: 200, body: '<h1>docs</h1>', type: 'text/html; charset=utf-8' },
  { path: '/app.js', status: 200, body: 'let x;', type: 'text/javascript; charset=utf-8' },
  { path: '/a%20b%20%C3%A9.txt', status: 200, body: 'odd name', type: 'text/plain; charset=utf-8' },
  { path: '/empty.css', status: 200, body: '', type: 'text/css; charset=utf-8' },
  { path: '/docs/app.json', status: 200, body: '{}', type: 'application/json; charset=utf-8' },
  { path: '/link-in', status: 200, body: '0123456789', type: 'text/plain; charset=utf-8' },
  { path: '/about', status: 200, body: '<h1>about</h1>', type: 'text/html; charset=utf-8' },
  { path: '/news', status: 200, body: '<h1>news</h1>', type: 'text/html; charset=utf-8' },
  { path: '/news/one', status: 200, body: 'one', type: 'text/html; charset=utf-8' },
  { path: '/about/', status: 404, body: '<h1>lost</h1>', type: 'text/html; charset=utf-8' },
  { path: '/missing', status: 404, body: '<h1>lost</h1>', type: 'text/html; charset=utf-8' },
  { path: '/no-index/', status: 404, body: '<h1>lost</h1>', type: 'text/html; charset=utf-8' },
  { path: '/numbers.txt/', status: 404, body: '<h1>lost</h1>', type: 'text/html; charset=utf-8' },
]) {
  test(`the static server answers ${path} with ${status}`, async () => {
    const answer = await get(path);
    assert.deepEqual([answer.status, answer.body, answer.headers['content-type']], [status, body, type]);
  });
}

for (const path of [
  '/.env',
  '/%2eenv',
  '/.git/config',
  '/docs/.hidden/x.html',
  '/link-out',
  '/folder-out/secret',
  '/link-to-hidden',
  '/app.json',
  '/Procfile',
  '/docs/../app.json',
  '/../secret',
  '/docs/../../secret',
  '/%2e%2e/%2e%2e/etc/passwd',
  '/..%2f..%2fetc%2fpasswd',
  '//etc/passwd',
  '/index.html%00.txt',
]) {
  test(`threat 39: the static server does not show ${path}`, async () => {
    const { status, body } = await get(path);
    assert.equal(status, 404);
    assert.equal(body, '<h1>lost</h1>');
  });
}

test('the static server redirects a folder’s path without a final slash within the site, never to another host', async () => {
  const plain = await get('/docs?a=b');
  assert.deepEqual([plain.status, plain.headers['location']], [301, '/docs/?a=b']);
  const tricky = await get('//docs');
  assert.equal(tricky.headers['location'], '/docs/');
});

test('the static server does not send a file again that a browser has cached', async () => {
  const first = await get('/numbers.txt');
  const tag = String(first.headers['etag']);
  const second = await get('/numbers.txt', { headers: { 'if-none-match': `"other", ${tag}` } });
  assert.deepEqual([second.status, second.body, second.headers['etag']], [304, '', tag]);
});

for (const { range, status, body } of [
  { range: 'bytes=2-4', status: 206, body: '234' },
  { range: 'bytes=7-', status: 206, body: '789' },
  { range: 'bytes=-3', status: 206, body: '789' },
  { range: 'bytes=5-500', status: 206, body: '56789' },
  { range: 'bytes=10-', status: 416, body: '' },
  { range: 'bytes=4-2', status: 200, body: '0123456789' },
  { range: 'bytes=0-1,3-4', status: 200, body: '0123456789' },
  { range: 'lines=1-2', status: 200, body: '0123456789' },
]) {
  test(`the static server answers a request for the range ${range} with ${status}`, async () => {
    const answer = await get('/numbers.txt', { headers: { range } });
    assert.deepEqual([answer.status, answer.body], [status, body]);
  });
}

test('the static server answers a request for a range of an old version of a file with the whole file', async () => {
  const answer = await get('/numbers.txt', { headers: { range: 'bytes=0-1', 'if-range': '"other"' } });
  assert.deepEqual([answer.status, answer.body.length], [200, 10]);
});

test('the static server answers HEAD with the length of the file and no body, and refuses POST', async () => {
  const head = await get('/big.bin', { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '3000000', '']);
  const post = await get('/', { method: 'POST' });
  assert.deepEqual([post.status, post.headers['allow']], [405, 'GET, HEAD']);
});

test('the static server accepts a path with raw UTF-8 bytes instead of percent escapes', async () => {
  assert.equal((await get(Buffer.from('/a%20b%20é.txt').toString('latin1'))).body, 'odd name');
});

test('a client that pauses longer than the static server’s idle limit still gets a large file complete', async () => {
  await writeFile(join(source.folder, 'huge.bin'), Buffer.alloc(30_000_000, 1));
  const impatient = serve(source.folder, { idleSeconds: 1 });
  try {
    const at = { host: '127.0.0.1', port: await portOf(impatient), path: '/huge.bin' };
    const [answer] = (await once(request(at).end(), 'response')) as [IncomingMessage];
    await wait(2500);
    let bytes = 0;
    for await (const chunk of answer) bytes += (chunk as Buffer).length;
    assert.equal(bytes, 30_000_000);
  } finally {
    impatient.kill('SIGTERM');
    await impatient;
  }
});

test('for a single-page application, the static server answers every path without a file with the page of the application and status 200', async () => {
  await using site = await ASource.of({
    'dist/index.html': 'app',
    'dist/a.txt': 'a',
    'index.html': 'source',
  });
  const server = serve(site.folder, null, ['dist', '404.html', 'index.html']);
  try {
    const at = { port: await portOf(server) };
    const answers = await Promise.all(['/', '/a.txt', '/users/7', '/.env'].map((path) => get(path, at)));
    assert.deepEqual(
      answers.map(({ status, body }) => [status, body]),
      [
        [200, 'app'],
        [200, 'a'],
        [200, 'app'],
        [200, 'app'],
      ],
    );
  } finally {
    server.kill('SIGTERM');
    await server;
  }
});

test('if a build made the site, the static server lets browsers keep only files in asset folders that have a hash in their names', async () => {
  const kept = [
    'assets/index-B3dq9xYz.js',
    'static/js/main.8f3a9b2c.chunk.js',
    '_next/static/a1b2c3d4-x.0f9e8d7c.css',
  ];
  const asked = ['index.html', 'assets/page-2-introduction.js', 'assets/jquery-3.7.1.min.js', 'B3dq9xYz.js'];
  await using site = await ASource.of(Object.fromEntries([...kept, ...asked].map((path) => [path, 'x'])));
  const server = serve(site.folder, null, ['.', '404.html', '', 'built']);
  try {
    const at = { port: await portOf(server) };
    for (const path of kept) {
      assert.match(String((await get(`/${path}`, at)).headers['cache-control']), /immutable/, path);
    }
    for (const path of asked) {
      assert.equal((await get(`/${path}`, at)).headers['cache-control'], 'no-cache', path);
    }
  } finally {
    server.kill('SIGTERM');
    await server;
  }
});

test('the static server sends a large file complete', async () => {
  assert.equal((await get('/big.bin')).body.length, 3_000_000);
});

const built = JSON.stringify({ scripts: { build: 'vite build' } });
for (const { files, says, serves } of [
  { files: { 'index.html': '' }, says: 'Serving 1 file, without', serves: ['.', '404.html', '', ''] },
  {
    files: { 'index.html': '', 'a b.css': '', '.hidden': '' },
    says: 'Serving 2 files, without',
    serves: ['.', '404.html', '', ''],
  },
  {
    files: { 'docs/index.html': '', 'README.md': '' },
    says: 'Serving 1 file of docs, without',
    serves: ['docs', '404.html', '', ''],
  },
  {
    files: { 'index.html': '', 'dist/index.html': '', 'package.json': built },
    says: 'Serving 1 file of dist, without',
    serves: ['dist', 'index.html', '', 'built'],
  },
  {
    files: { 'public/index.html': '', 'build/index.html': '', 'build/a.html': '', 'package.json': built },
    says: 'of build, without',
    serves: ['build', '404.html', '', 'built'],
  },
  {
    files: { 'src/index.html': '', 'dist/site/browser/index.html': '', 'package.json': built },
    says: 'of dist/site/browser, without',
    serves: ['dist/site/browser', 'index.html', '', 'built'],
  },
  {
    files: { 'public/index.html': '', 'public/_redirects': '/api/* /x 301\n/*   /index.html  200\n' },
    says: 'of public, without',
    serves: ['public', '404.html', 'index.html', ''],
  },
  {
    files: { 'index.html': '', '200.html': '' },
    says: 'Serving 2',
    serves: ['.', '404.html', '200.html', ''],
  },
  {
    files: {
      'site/index.html': '',
      'index.html': '',
      'static.json':
        '{"root": "site/", "routes": {"/**": "index.html"}, "error_page": "lost.html", "proxies": {"/api": 1}}',
    },
    says: 'These keys of static.json have no effect: proxies',
    serves: ['site/', 'lost.html', 'index.html', ''],
  },
]) {
  test(`the build of a static site says what it serves: ${Object.keys(files).join(', ')}`, async () => {
    await using source = await ASource.of(files);
    const { code, output } = await source.run('static', 'build');
    assert.equal(code, 0, output);
    assert.ok(output.includes(says), output);
    assert.deepEqual((await source.processes())['web']?.slice(3), serves);
  });
}
