import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { makeCommit, openDoor, PASSWORD, runGit } from '../../support/http/http-door.ts';

test('a push over HTTP with a password works, with and without .git in the address', async (context) => {
  const door = await openDoor(context);
  const work = await makeCommit(door.root, { 'a.txt': 'a' });
  const first = await runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
  assert.equal(first.exitCode, 0, String(first.all));
  await runGit(work, ['commit', '--allow-empty', '--message=Second']);
  const second = await runGit(work, ['push', `${door.loggedIn}/hello`, 'main']);
  assert.equal(second.exitCode, 0, String(second.all));
  const live = await runGit(door.packs.folder('hello'), ['rev-parse', 'main']);
  const head = await runGit(work, ['rev-parse', 'HEAD']);
  assert.equal(live.stdout, head.stdout);
  assert.equal(door.packs.closed, 2);
  const [request] = door.packs.requests;
  assert.equal(request?.hasAdvertisement, false);
  const { uid, door: by, credential, address, isOperator } = request.principal;
  assert.deepEqual(
    { uid, by, credential, address, isOperator },
    {
      uid: 'alice',
      by: 'http',
      credential: 'password',
      address: '127.0.0.1',
      isOperator: false,
    },
  );
});

for (const version of ['0', '1', '2']) {
  test(`clone and fetch over HTTP work with git protocol version ${version}`, async (context) => {
    const door = await openDoor(context);
    const work = await makeCommit(door.root, { 'a.txt': randomBytes(300_000) });
    await runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
    const protocol = ['-c', `protocol.version=${version}`];
    const env = { GIT_TRACE_PACKET: '1' };
    const clone = await runGit(door.root, [...protocol, 'clone', `${door.loggedIn}/hello.git`, 'copy'], {
      env,
    });
    assert.equal(clone.exitCode, 0, String(clone.all));
    assert.equal(/< version 2/.test(String(clone.stderr)), version === '2');
    await runGit(work, ['commit', '--allow-empty', '--message=Second']);
    await runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
    const fetch = await runGit(join(door.root, 'copy'), [...protocol, 'pull', '--quiet']);
    assert.equal(fetch.exitCode, 0, String(fetch.all));
    const there = await runGit(join(door.root, 'copy'), ['log', '-1', '--format=%s']);
    assert.equal(there.stdout, 'Second');
  });
}

test('before the first push to a tool, its repository can be cloned over HTTP, and the clone is empty', async (context) => {
  const door = await openDoor(context);
  const clone = await runGit(door.root, ['clone', `${door.loggedIn}/hello.git`, 'copy']);
  assert.equal(clone.exitCode, 0, String(clone.all));
  assert.match(String(clone.all), /empty repository/);
});

test('a push larger than http.postBuffer works: git sends a probe, then the push in chunks', async (context) => {
  const door = await openDoor(context);
  const work = await makeCommit(door.root, { 'big.bin': randomBytes(3_000_000) });
  const push = await runGit(work, [
    ...['-c', 'http.postBuffer=65536', '-c', 'core.compression=0'],
    ...['push', `${door.loggedIn}/hello.git`, 'main'],
  ]);
  assert.equal(push.exitCode, 0, String(push.all));
  assert.equal(door.packs.sessions.length, 2, 'the probe of four bytes and the push');
  assert.equal(door.packs.closed, 2);
});

test('during a push over HTTP, the output of the post-receive hook reaches git while the hook runs', async (context) => {
  let open = (_: unknown) => {};
  const door = await openDoor(context);
  door.packs.verdict = new Promise((resolve) => {
    open = resolve;
  });
  await door.packs.advertise('hello' as never);
  const hook = join(door.packs.folder('hello'), 'hooks/post-receive');
  await mkdir(join(hook, '..'), { recursive: true });
  await writeFile(hook, '#!/bin/sh\necho "-----> Building ünïcode"\n');
  await chmod(hook, 0o755);
  const work = await makeCommit(door.root, { 'a.txt': 'a' });
  const push = runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
  // The server gets its verdict only after git has printed the hook's line.
  for await (const chunk of push.all ?? []) {
    if (String(chunk).includes('-----> Building ünïcode')) open(null);
  }
  assert.equal((await push).exitCode, 0);
});

test('if the server refuses a large push early, git shows the refusal, not "up-to-date"', async (context) => {
  const door = await openDoor(context);
  door.packs.refusal = 'frozen until Monday';
  const work = await makeCommit(door.root, { 'big.bin': randomBytes(8_000_000) });
  const push = await runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
  assert.equal(push.exitCode, 1);
  assert.match(String(push.all), /\[remote rejected\] main -> main \(frozen until Monday\)/);
  assert.doesNotMatch(String(push.all), /up-to-date/);
  assert.equal(door.packs.closed, door.packs.sessions.length);
});

test('over HTTP, git shows why a push to a disabled tool is refused, and can still list the refs of the tool', async (context) => {
  const door = await openDoor(context);
  const work = await makeCommit(door.root, { 'a.txt': 'a' });
  const push = await runGit(work, ['push', `${door.loggedIn}/frozen.git`, 'main']);
  assert.equal(push.exitCode, 128);
  assert.match(String(push.all), /remote: The tool frozen is disabled\.\nremote: Ask the operators/);
  const read = await runGit(work, ['ls-remote', `${door.loggedIn}/frozen.git`]);
  assert.equal(read.exitCode, 0, 'a disabled tool can still be read');
});

test('threat 29: git gets the same answer for somebody else’s tool and for a missing tool', async (context) => {
  const door = await openDoor(context);
  const [foreign, none] = await Promise.all(
    ['other', 'nowhere'].map((tool) => runGit(door.root, ['ls-remote', `${door.loggedIn}/${tool}.git`])),
  );
  assert.equal(foreign?.exitCode, 128);
  assert.match(String(foreign?.all), /remote: There is no tool other that alice maintains\./);
  assert.equal(String(foreign?.all).replaceAll('other', 'nowhere'), String(none?.all));
});

test('over HTTP, git shows an outage of the user directory as error 503 with the reason', async (context) => {
  const door = await openDoor(context);
  door.directory.isDown = true;
  const read = await runGit(door.root, ['ls-remote', `${door.loggedIn}/hello.git`]);
  assert.match(String(read.all), /remote: The directory is down\.\nremote: Try later\./);
  assert.match(String(read.all), /error: 503/);
});

test('over HTTP, git reports a wrong password as a failed login', async (context) => {
  const door = await openDoor(context);
  const url = door.loggedIn.replace(encodeURIComponent(PASSWORD), 'wrong');
  const read = await runGit(door.root, ['ls-remote', `${url}/hello.git`]);
  assert.match(String(read.all), /remote: Log in with your user name and password, or with a deploy token/);
  assert.match(String(read.all), /Authentication failed/);
});

test('if the client of a push over HTTP is killed, the hook of the push still runs to its end', {
  timeout: 30_000,
}, async (context) => {
  let open = (_: unknown) => {};
  const door = await openDoor(context);
  door.packs.verdict = new Promise((resolve) => {
    open = resolve;
  });
  await door.packs.advertise('hello' as never);
  const folder = door.packs.folder('hello');
  const hook = join(folder, 'hooks/post-receive');
  await mkdir(join(hook, '..'), { recursive: true });
  await execa('mkfifo', [join(folder, 'go')]);
  // The hook prints more than the pipes and buffers hold, so that git would block if nothing read its output.
  await writeFile(
    hook,
    '#!/bin/sh\necho started\nread line <go\nyes 0123456789012345678901234567890123456789 | head -c 3000000\ntouch finished\n',
  );
  await chmod(hook, 0o755);
  const work = await makeCommit(door.root, { 'a.txt': 'a' });
  const push = runGit(work, ['push', `${door.loggedIn}/hello.git`, 'main']);
  for await (const chunk of push.all ?? []) {
    if (String(chunk).includes('started')) break;
  }
  push.kill('SIGKILL');
  await push;
  const [session] = door.packs.sessions.slice(-1);
  const ended = once(session?.outgoing ?? assert.fail(), 'end');
  await writeFile(join(folder, 'go'), 'go\n');
  open(null);
  await ended;
  const finished = await execa('test', ['-e', join(folder, 'finished')], { reject: false });
  assert.equal(finished.exitCode, 0);
});
