import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createGzip, gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { DeployTokens } from '../../../src/auth/deploy-tokens.ts';
import type { Services } from '../../../src/cli/command.ts';
import type { ToolName } from '../../../src/core/names.ts';
import type { DeployToken } from '../../../src/core/types.ts';
import {
  basic,
  type DoorOverrides,
  makeCommit,
  openDoor,
  runGit,
  type TestDoor,
} from '../../support/http/http-door.ts';
import { collect, sendRaw } from '../../support/http/http-raw.ts';

const RECEIVE = 'application/x-git-receive-pack-request';
const UPLOAD = 'application/x-git-upload-pack-request';

function post(door: TestDoor, path: string, body: RequestInit['body'], headers: Record<string, string> = {}) {
  return fetch(door.url + path, {
    method: 'POST',
    body,
    headers: { authorization: basic(), 'content-type': RECEIVE, ...headers },
    duplex: 'half',
  } as RequestInit);
}

/** Asserts that the server answers /healthz, and that it has closed the session of every push. */
async function assertWell(door: TestDoor): Promise<void> {
  const health = await fetch(`${door.url}/healthz`);
  assert.equal(health.status, 200);
  // The client gets its answer a moment before git has ended.
  await until(() => door.packs.closed === door.packs.sessions.length);
}

/** Waits until `isSo` returns true. Fails after 10 s. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, 'the state was not reached within 10 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const packet = (text: string) => (text.length + 4).toString(16).padStart(4, '0') + text;
const DELETE = `${packet(`${'1'.repeat(40)} ${'0'.repeat(40)} refs/heads/main\0report-status`)}0000`;

test('a POST to a repository without credentials is answered 401, and never reaches git', async (context) => {
  const door = await openDoor(context);
  for (const body of [DELETE, '0000']) {
    const answer = await post(door, '/hello.git/git-receive-pack', body, { authorization: '' });
    assert.equal(answer.status, 401);
  }
  assert.equal(door.packs.requests.length, 0);
});

test('git’s probe of four bytes is answered 401 without a password and 200 with a password', async (context) => {
  const door = await openDoor(context);
  const anonymous = await post(door, '/hello.git/git-receive-pack', '0000', { authorization: '' });
  assert.equal(anonymous.status, 401);
  const known = await post(door, '/hello.git/git-receive-pack', '0000');
  assert.equal(known.status, 200);
  await known.text();
  await assertWell(door);
});

for (const { name, body } of [
  { name: 'garbage', body: Buffer.from('this is not gzip at all') },
  { name: 'no bytes', body: Buffer.alloc(0) },
  { name: 'a stream that is cut off', body: gzipSync(randomBytes(100_000)).subarray(0, 50_000) },
  { name: 'a wrong checksum', body: Buffer.concat([gzipSync(DELETE).subarray(0, -8), Buffer.alloc(8, 1)]) },
]) {
  test(`threat 25: a git request over HTTP whose gzip body has ${name} is answered 400`, async (context) => {
    const door = await openDoor(context);
    for (const encoding of ['gzip', 'x-gzip']) {
      const answer = await post(door, '/hello.git/git-receive-pack', body, { 'content-encoding': encoding });
      assert.equal(answer.status, 400);
      assert.match(await answer.text(), /gzip data of the request body is damaged/);
    }
    const headers = { 'content-encoding': 'gzip', 'content-type': UPLOAD };
    assert.equal((await post(door, '/hello.git/git-upload-pack', body, headers)).status, 400);
    await assertWell(door);
  });
}

test('threat 25: git requests with another Content-Encoding than gzip are refused', async (context) => {
  const door = await openDoor(context);
  for (const encoding of ['deflate', 'br', 'gzip, gzip', 'zstd']) {
    const answer = await post(door, '/hello.git/git-receive-pack', DELETE, { 'content-encoding': encoding });
    assert.equal(answer.status, 415, encoding);
  }
  assert.equal(door.packs.requests.length, 0);
});

for (const { outcome, limit, status } of [
  { outcome: 'is refused at the limit of a push', limit: 10 * 1024 * 1024, status: 413 },
  { outcome: 'is read and discarded after git has given up', limit: 512 * 1024 * 1024, status: 400 },
]) {
  test(`threat 25: a push over HTTP whose body is a gzip bomb of 100 MiB ${outcome}, and takes less than 60 MiB of memory`, {
    timeout: 60_000,
  }, async (context) => {
    const door = await openDoor(context);
    door.packs.maxBytes = limit;
    const zeros = createGzip({ level: 9 });
    const bomb = Array.fromAsync(zeros);
    for (let mebibyte = 0; mebibyte < 100; mebibyte += 1) {
      // Without random bytes, the body would be refused because it expands too far.
      zeros.write(Buffer.concat([randomBytes(16 * 1024), Buffer.alloc(1008 * 1024)]));
    }
    zeros.end();
    const body = Buffer.concat(await bomb);
    const before = process.memoryUsage().rss;
    let most = before;
    const sampler = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 5);
    const answer = await post(door, '/hello.git/git-receive-pack', body, { 'content-encoding': 'gzip' });
    clearInterval(sampler);
    assert.equal(answer.status, status);
    assert.ok(most - before < 60 * 1024 * 1024, `grew by ${(most - before) / 1024 / 1024} MiB`);
    await assertWell(door);
  });
}

test('threat 241: a gzip body of 1 MB that would expand to 1 GB for a push, or of 31 kB that would expand to 31 MiB for a fetch, is answered 413, because it expands to more than 1 MiB plus 100 times its size', async (context) => {
  const door = await openDoor(context);
  for (const { type, path, mebibytes } of [
    { type: RECEIVE, path: '/hello.git/git-receive-pack', mebibytes: 1000 },
    { type: UPLOAD, path: '/hello.git/git-upload-pack', mebibytes: 31 },
  ]) {
    const zeros = createGzip({ level: 9 });
    const bomb = Array.fromAsync(zeros);
    const part = Buffer.alloc(1024 * 1024);
    for (let count = 0; count < mebibytes; count += 1) if (!zeros.write(part)) await once(zeros, 'drain');
    zeros.end();
    const body = Buffer.concat(await bomb);
    const headers = { 'content-encoding': 'gzip', 'content-type': type };
    const answer = await post(door, path, body, headers);
    assert.equal(answer.status, 413);
    assert.match(await answer.text(), /expands to more than 1 MiB plus 100 times its size/);
  }
  await assertWell(door);
});

test('a fetch request over HTTP that is larger than 32 MiB is answered 413', async (context) => {
  const door = await openDoor(context);
  // Without random bytes, the body would be refused because it expands too far.
  const mebibyte = Buffer.concat([randomBytes(16 * 1024), Buffer.alloc(1008 * 1024)]);
  const body = gzipSync(Buffer.concat(Array<Buffer>(40).fill(mebibyte)));
  const headers = { 'content-encoding': 'gzip', 'content-type': UPLOAD };
  const answer = await post(door, '/hello.git/git-upload-pack', body, headers);
  assert.equal(answer.status, 413);
  assert.match(await answer.text(), /larger than 33554432 bytes/);
});

test('if an HTTP client disconnects while it sends a push, the push ends, the server still answers, and the server’s log has no error', async (context) => {
  const door = await openDoor(context);
  const head = `POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Type: ${RECEIVE}\r\n`;
  for (const encoding of ['', 'Content-Encoding: gzip\r\n']) {
    const count = door.packs.closed;
    const socket = connect(door.port, '127.0.0.1');
    socket.on('error', () => {});
    const body = encoding === '' ? Buffer.from(DELETE) : gzipSync(DELETE).subarray(0, 20);
    socket.write(Buffer.concat([Buffer.from(`${head}${encoding}Content-Length: 100000\r\n\r\n`), body]));
    await until(() => door.packs.sessions.length > count);
    socket.resetAndDestroy();
    await until(() => door.packs.closed === count + 1);
  }
  await assertWell(door);
  assert.deepEqual(
    door.log.filter((line) => line.includes('"level":"error"')),
    [],
    'an operator was alarmed',
  );
});

test('a large push to a repository whose folder is missing is answered 400, and the server continues', async (context) => {
  const door = await openDoor(context);
  const folder = await door.packs.advertise('hello' as never);
  const services = { ...door.packs, advertise: async () => folder };
  const gone = await openDoor(context, {
    packServices: (packs) => ({
      ...services,
      upload: async () => ({ ...folder, folder: '/nowhere/hello.git', lost: null, close: () => {} }),
      receive: async (request) => ({ ...(await packs.receive(request)), folder: '/nowhere/hello.git' }),
    }),
  });
  const answer = await post(gone, '/hello.git/git-receive-pack', Buffer.alloc(3_000_000, '0'));
  assert.equal(answer.status, 400);
  const info = await fetch(`${gone.url}/hello.git/info/refs?service=git-upload-pack`, {
    headers: { authorization: basic() },
  });
  assert.equal(info.status, 500);
  assert.match(await info.text(), /fault of the server.*\n.*number [0-9a-f]{12}/);
  await assertWell(gone);
});

test('a push over HTTP whose command list arrives in many TCP segments is read', async (context) => {
  const door = await openDoor(context);
  const head = `POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${basic()}\r\nContent-Type: ${RECEIVE}\r\nContent-Length: ${DELETE.length}\r\n\r\n`;
  const answer = await sendRaw(door.port, [head, ...(DELETE.match(/[\s\S]{1,20}/g) ?? [])]);
  assert.match(answer.text, /^HTTP\/1\.1 200 /);
  assert.match(answer.text, /unpack ok/);
  await assertWell(door);
});

test('the answer to a git request over HTTP waits for the end of the request’s body', async (context) => {
  const door = await openDoor(context);
  door.packs.refusal = 'frozen';
  const head = `POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${basic()}\r\nContent-Type: ${RECEIVE}\r\nContent-Length: ${DELETE.length + 4}\r\n\r\n`;
  const socket = connect(door.port, '127.0.0.1');
  const answer = collect(socket, 5_000);
  socket.write(head + DELETE);
  await until(() => door.packs.sessions.length === 1);
  const { outgoing } = door.packs.sessions[0] ?? assert.fail();
  if (!outgoing.readableEnded) await once(outgoing, 'end');
  assert.equal(socket.bytesRead, 0);
  socket.write('PACK');
  assert.match((await answer).text, /^HTTP\/1\.1 200 [\s\S]*ng refs\/heads\/main frozen/);
  await assertWell(door);
});

test('a git request that would be slow to read with a backtracking regular expression is answered within 1 s', async (context) => {
  const door = await openDoor(context);
  const started = performance.now();
  const answer = await post(door, '/hello.git/git-receive-pack', `ffff${'a'.repeat(60_000)}`);
  await answer.text();
  // A backtracking search over 60,000 hexadecimal digits would take seconds.
  assert.ok(performance.now() - started < 1000, `${performance.now() - started} ms`);
});

test('if the repository folder hello.git is empty, git does not serve a folder hello.git.git instead', async (context) => {
  const door = await openDoor(context);
  const work = await makeCommit(door.root, { 'secret.txt': 'not yours' });
  await runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
  const folder = door.packs.folder('hello');
  await rename(folder, `${folder}.git`);
  await mkdir(folder);
  for (const service of ['upload', 'receive']) {
    const url = `${door.url}/hello.git/info/refs?service=git-${service}-pack`;
    const answer = await fetch(url, { headers: { authorization: basic() } });
    assert.equal(answer.status, 500, 'git itself would serve hello.git.git');
    assert.doesNotMatch(await answer.text(), /hello/);
  }
});

test('a request to a broken repository is answered 500 with a number that is also in the server’s log', async (context) => {
  const door = await openDoor(context);
  await door.packs.advertise('hello' as never);
  await writeFile(join(door.packs.folder('hello'), 'HEAD'), 'rubbish');
  const url = `${door.url}/hello.git/info/refs?service=git-upload-pack`;
  const answer = await fetch(url, { headers: { authorization: basic() } });
  assert.equal(answer.status, 500);
  const id = /number ([0-9a-f]{12})/.exec(await answer.text())?.[1];
  assert.ok(door.log.some((line) => line.includes(`"id":"${id}"`)));
});

test('if git cannot be started, every git request over HTTP is answered 500', async (context) => {
  const door = await openDoor(context, {
    packServices: (packs) => ({
      upload: async (tool, protocol) => ({
        ...(await packs.upload(tool, protocol)),
        environment: { PATH: '/nowhere' },
      }),
      advertise: async (tool) => ({ ...(await packs.advertise(tool)), environment: { PATH: '/nowhere' } }),
      receive: async (request) => ({ ...(await packs.receive(request)), environment: { PATH: '/nowhere' } }),
    }),
  });
  const headers = { authorization: basic() };
  const info = await fetch(`${door.url}/hello.git/info/refs?service=git-receive-pack`, { headers });
  assert.equal(info.status, 500);
  assert.equal((await post(door, '/hello.git/git-receive-pack', DELETE)).status, 500);
  const fetched = await post(door, '/hello.git/git-upload-pack', '0000', { 'content-type': UPLOAD });
  assert.equal(fetched.status, 500);
});

/** Opens an HTTP server that counts the requests for refs that it answers at the same time. */
async function openCounting(context: TestContext, overrides: DoorOverrides = {}) {
  const count = { running: 0, most: 0, hold: async () => {} };
  const door = await openDoor(context, {
    ...overrides,
    packServices: (packs) => ({
      receive: (request) => packs.receive(request),
      advertise: (tool) => packs.advertise(tool),
      upload: async (tool, protocol) => {
        count.running += 1;
        count.most = Math.max(count.most, count.running);
        await new Promise((resolve) => setTimeout(resolve, 30));
        await count.hold();
        count.running -= 1;
        return await packs.upload(tool, protocol);
      },
    }),
  });
  return { door, count };
}

test('threat 55: requests for refs with many tokens of one person start at most 16 git processes at once, and all are answered', async (context) => {
  const known = new Map<string, { token: DeployToken; hash: Uint8Array }>();
  const tokens = new DeployTokens({
    addToken: (token, hash) => void known.set(token.id, { token, hash }),
    token: (id) => known.get(id) ?? null,
    tokens: () => [],
    useToken: () => {},
    removeToken: () => false,
  });
  const services = { addresses: { ssh: '', http: '' }, audit: () => {}, tokens } as unknown as Services;
  const { door, count } = await openCounting(context, { services });
  const wanted = {
    tool: 'hello' as ToolName,
    name: 'ci',
    scope: 'read',
    by: 'alice',
    lifeMs: 60_000,
  } as const;
  const ask = async (secret: string) => {
    const headers = { authorization: basic('ci', secret) };
    const answer = await fetch(`${door.url}/hello.git/info/refs?service=git-upload-pack`, { headers });
    await answer.text();
    return answer.status;
  };
  const secrets = Array.from({ length: 10 }, () => tokens.create(wanted).secret);
  // The first request makes the repository.
  assert.equal(await ask(secrets[0] ?? ''), 200);
  const gate = Promise.withResolvers<void>();
  count.hold = () => gate.promise;
  const answers = secrets.flatMap((secret) => Array.from({ length: 4 }, () => ask(secret)));
  await until(() => count.running >= 16);
  await new Promise((resolve) => setTimeout(resolve, 500));
  gate.resolve();
  assert.deepEqual(await Promise.all(answers), Array(40).fill(200));
  assert.equal(count.most, 16);
});

test('threat 55: requests for refs with one password start at most four git processes at once, and all are answered', async (context) => {
  const { door, count } = await openCounting(context);
  const headers = { authorization: basic() };
  const ask = async () => {
    const answer = await fetch(`${door.url}/hello.git/info/refs?service=git-upload-pack`, { headers });
    await answer.text();
    return answer.status;
  };
  // The first request makes the repository.
  assert.equal(await ask(), 200);
  assert.deepEqual(await Promise.all(Array.from({ length: 20 }, ask)), Array(20).fill(200));
  assert.equal(count.most, 4);
});

test('a fetch request over HTTP whose body is nonsense is answered 400', async (context) => {
  const door = await openDoor(context);
  const answer = await post(door, '/hello.git/git-upload-pack', 'nonsense', { 'content-type': UPLOAD });
  assert.equal(answer.status, 400);
});

test('if the client of a fetch over HTTP disconnects, the git process of the fetch ends', async (context) => {
  const door = await openDoor(context);
  const work = await makeCommit(door.root, { 'big.bin': randomBytes(20_000_000) });
  await runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
  const { stdout: head } = await runGit(work, ['rev-parse', 'HEAD']);
  const body = `${packet(`want ${head} side-band-64k\n`)}0000${packet('done\n')}`;
  const socket = connect(door.port, '127.0.0.1');
  socket.write(
    `POST /hello.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Type: ${UPLOAD}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await new Promise((resolve) => socket.once('readable', resolve));
  const isServing = async () => {
    const { stdout } = await execa('ps', ['-eo', 'args']);
    return stdout.includes(`--stateless-rpc ${door.packs.folder('hello')}`);
  };
  assert.ok(await isServing(), 'git ended although the client reads nothing');
  socket.destroy();
  await until(async () => !(await isServing()));
});

test('the server’s memory grows by less than 60 MiB while a push of 64 MiB arrives over HTTP', {
  timeout: 120_000,
}, async (context) => {
  const door = await openDoor(context);
  const work = await makeCommit(door.root, { 'big.bin': randomBytes(64 * 1024 * 1024) });
  const before = process.memoryUsage().rss;
  let most = before;
  const sampler = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 10);
  const push = await runGit(work, ['-c', 'core.compression=0', 'push', `${door.loggedIn}/hello.git`, 'main']);
  clearInterval(sampler);
  assert.equal(push.exitCode, 0, String(push.all));
  assert.ok(most - before < 60 * 1024 * 1024, `grew by ${(most - before) / 1024 / 1024} MiB`);
});
