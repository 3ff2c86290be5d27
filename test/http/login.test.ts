import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { test } from 'node:test';
import { LoginThrottle } from '../../src/auth/login-throttle.ts';
import { readBasic } from '../../src/http/basic-auth.ts';
import { basic, openDoor, PASSWORD, runGit } from '../support/http/http-door.ts';

const REFS = 'info/refs?service=git-receive-pack';

for (const { name, header } of [
  { name: 'no value', header: undefined },
  { name: 'an empty value', header: '' },
  { name: 'another scheme', header: 'Bearer abc' },
  { name: 'only a scheme', header: 'Basic' },
  { name: 'invalid base64', header: 'Basic !!!!' },
  { name: 'base64 with stray bits', header: 'Basic YTp=' },
  { name: 'no colon', header: `Basic ${Buffer.from('alice').toString('base64')}` },
  { name: 'no user name', header: basic('') },
  { name: 'an empty password', header: basic('alice', '') },
  { name: 'a control character', header: basic('alice', 'a\0b') },
  { name: 'bytes that are not UTF-8', header: `Basic ${Buffer.from([0x61, 0x3a, 0xff]).toString('base64')}` },
  { name: 'two credentials', header: `${basic()}, ${basic()}` },
]) {
  test(`threat 29: an HTTP request whose Authorization header has ${name} is answered 401 without asking the user directory`, async (context) => {
    assert.equal(readBasic(header), null);
    const door = await openDoor(context);
    const headers: Record<string, string> = header === undefined ? {} : { authorization: header };
    const answer = await fetch(`${door.url}/hello.git/${REFS}`, { headers });
    assert.equal(answer.status, 401);
    assert.equal(answer.headers.get('www-authenticate'), 'Basic realm="Toolforge", charset="UTF-8"');
    assert.equal(answer.headers.get('cache-control'), 'no-store');
    assert.deepEqual(door.directory.asked, []);
  });
}

test('a password may contain colons and letters of any script', () => {
  assert.deepEqual(readBasic(basic('Ålice ', 'pä:ss:')), { login: 'ålice', password: 'pä:ss:' });
  assert.deepEqual(readBasic(basic().replace('Basic', 'basic')), { login: 'alice', password: PASSWORD });
});

/** The parts of an answer that a client could compare. */
async function answerOf(url: string, headers: Record<string, string> = {}) {
  const answer = await fetch(url, { headers });
  const sent = [...answer.headers].filter(([name]) => name !== 'date');
  return { status: answer.status, headers: sent, body: await answer.text() };
}

test('threat 29: an HTTP request without a login gets the same 401, whether or not the tool exists', async (context) => {
  const door = await openDoor(context);
  const known = await answerOf(`${door.url}/hello.git/${REFS}`);
  assert.equal(known.status, 401);
  for (const tool of ['other', 'nowhere', 'frozen', 'No-Name', '%2e%2e']) {
    assert.deepEqual(await answerOf(`${door.url}/${tool}.git/${REFS}`), known, tool);
  }
});

test('threat 29: over HTTP, somebody else’s tool and a missing tool get the same answer', async (context) => {
  const door = await openDoor(context);
  const headers = { authorization: basic() };
  const foreign = await answerOf(`${door.url}/other.git/${REFS}`, headers);
  const none = await answerOf(`${door.url}/nodoc.git/${REFS}`, headers);
  assert.equal(foreign.status, 404);
  assert.deepEqual(JSON.parse(JSON.stringify(foreign).replaceAll('other', 'nodoc')), none);
  for (const path of ['/other.git/git-receive-pack', '/other.git/git-upload-pack']) {
    assert.equal((await fetch(door.url + path, { method: 'POST', headers })).status, 404);
  }
  assert.equal(door.packs.requests.length, 0);
});

test('during an outage of the user directory, a login is answered 503, never 401', async (context) => {
  const door = await openDoor(context);
  door.directory.isDown = true;
  const answer = await fetch(`${door.url}/hello.git/${REFS}`, { headers: { authorization: basic() } });
  assert.equal(answer.status, 503);
  assert.equal(answer.headers.get('www-authenticate'), null);
  assert.notEqual(answer.headers.get('retry-after'), null);
});

test('threat 9: after several wrong passwords, more logins of this user get 429, also with the right password', async (context) => {
  const door = await openDoor(context, { throttle: new LoginThrottle() });
  const wrong = { authorization: basic('alice', 'guess') };
  const statuses = await Promise.all(
    Array.from(
      { length: 20 },
      async () => (await fetch(`${door.url}/hello/${REFS}`, { headers: wrong })).status,
    ),
  );
  // Of 20 simultaneous attempts, at most 10 are checked.
  assert.ok(statuses.filter((status) => status === 401).length <= 10, String(statuses));
  const answer = await fetch(`${door.url}/hello/${REFS}`, { headers: { authorization: basic() } });
  assert.equal(answer.status, 429);
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
  const neighbour = await fetch(`${door.url}/other/${REFS}`, { headers: { authorization: basic('bob') } });
  assert.equal(neighbour.status, 200, 'another user at the same address was refused');
});

test('threat 15: no password of an HTTP login is in the server’s log', async (context) => {
  const door = await openDoor(context);
  await runGit(door.root, ['ls-remote', `${door.loggedIn}/hello.git`]);
  await fetch(`${door.url}/hello.git/${REFS}&token=sesame`, {
    headers: { authorization: basic('alice', 'sesame') },
  });
  await new Promise<void>((resolve) => {
    const path = `http://alice:sesame@127.0.0.1:${door.port}/hello.git/${REFS}`;
    httpRequest({ port: door.port, path, headers: { authorization: basic('alice', 'sesame') } }, (answer) => {
      answer.resume().on('end', resolve);
    }).end();
  });
  await door.close();
  const text = door.log.join('');
  assert.match(text, /"path":"\/hello\.git\/info\/refs","status":200,.*"uid":"alice"/);
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), 'sesame', basic().slice(6), 'Basic']) {
    assert.ok(!text.includes(secret), secret);
  }
});

test('threat 28: the HTTP server does not serve git’s dumb protocol or files of a repository', async (context) => {
  const door = await openDoor(context);
  await door.packs.advertise('hello' as never);
  const headers = { authorization: basic() };
  for (const path of [
    'info/refs',
    'HEAD',
    'config',
    'packed-refs',
    'objects/info/packs',
    'hooks/post-receive',
  ]) {
    const answer = await fetch(`${door.url}/hello.git/${path}`, { headers });
    assert.equal(answer.status, 404, path);
  }
});

test('threat 30: a page of another site cannot use a password that the browser has stored', async (context) => {
  const door = await openDoor(context, { runCommand: () => assert.fail('it ran') });
  const stranger = { authorization: basic(), origin: 'https://evil.example' };
  for (const headers of [stranger, { authorization: basic(), 'sec-fetch-site': 'same-site' }]) {
    const command = await fetch(`${door.url}/-/command`, { method: 'POST', body: 'stop hello', headers });
    assert.equal(command.status, 403);
    const push = await fetch(`${door.url}/hello.git/git-receive-pack`, {
      method: 'POST',
      body: '0000',
      headers,
    });
    assert.equal(push.status, 403);
  }
  const form = await fetch(`${door.url}/hello.git/git-receive-pack`, {
    method: 'POST',
    body: '0000',
    headers: { authorization: basic(), 'content-type': 'text/plain' },
  });
  assert.equal(form.status, 415, 'a form was accepted as git');
  assert.equal(door.packs.requests.length, 0);
});

test('threat 31: behind a trusted proxy, passwords are accepted only if the client uses https', async (context) => {
  const door = await openDoor(context, { config: { trusted_proxies: ['127.0.0.1'] } });
  for (const { proto, status } of [
    { proto: 'http', status: 403 },
    { proto: '', status: 403 },
    { proto: 'https', status: 200 },
  ]) {
    const headers = { authorization: basic(), 'x-forwarded-proto': proto, 'x-forwarded-for': '203.0.113.9' };
    const git = await fetch(`${door.url}/hello.git/${REFS}`, { headers });
    assert.equal(git.status, status, proto);
    await git.text();
    const command = await fetch(`${door.url}/-/command`, { method: 'POST', body: 'tools', headers });
    assert.equal(command.status, status, proto);
    await command.text();
  }
  assert.equal((await fetch(`${door.url}/healthz`)).status, 200, 'a request without a password was refused');
  assert.ok(door.log.some((line) => line.includes('"address":"203.0.113.9"')));
});

test('threat 29: at the address of a repository, a browser gets a page that says that the address is for git, whether or not the tool exists', async (context) => {
  const door = await openDoor(context);
  for (const name of ['hello', 'other', 'nowhere']) {
    const { status, body } = await answerOf(`${door.url}/${name}.git`);
    assert.equal(status, 404);
    assert.match(body, new RegExp(`^This address is for git.*\\n {4}git clone http\\S+/${name}\\.git\\n$`));
  }
});
