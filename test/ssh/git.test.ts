import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { execa } from 'execa';
import { DeployError } from '../../src/core/errors.ts';
import { connect, exec, readAll } from '../support/ssh/ssh-attacker.ts';
import { SshWorkbench } from '../support/ssh/ssh-workbench.ts';

const BIG_BYTES = 64 * 1024 * 1024;
let bench: SshWorkbench;
before(async () => {
  bench = await SshWorkbench.open();
});
after(() => bench.close());
beforeEach(() => {
  bench.logged.length = 0;
  Object.assign(bench.packServices, { notice: null, refusal: null, error: null });
});

async function untilClosed(): Promise<void> {
  const limit = AbortSignal.timeout(20_000);
  while (bench.packServices.closed < bench.packServices.opened) {
    assert.ok(!limit.aborted, 'a push session was not closed');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const idOf = (cwd: string, name: string) =>
  execFileSync('git', ['rev-parse', name], { cwd, encoding: 'utf8' }).trim();

test('a push over SSH with real git works, and so do clone and fetch in the protocol versions 0, 1 and 2', async () => {
  const work = await bench.makeRepository('work');
  const push = await bench.git(['push', bench.url('hello'), 'main'], { cwd: work });
  assert.equal(push.code, 0, push.stderr);
  assert.equal(idOf(bench.packServices.repository('hello'), 'main'), idOf(work, 'main'));
  for (const version of ['0', '1', '2']) {
    const clone = bench.path(`clone-${version}`);
    const config = ['-c', `protocol.version=${version}`];
    const cloned = await bench.git([...config, 'clone', '-q', bench.url('hello'), clone]);
    assert.deepEqual([cloned.code, cloned.stderr], [0, '']);
    assert.equal(idOf(clone, 'HEAD'), idOf(work, 'main'));
    assert.equal((await bench.git([...config, 'fetch', '-q'], { cwd: clone })).code, 0);
  }
  assert.deepEqual(new Set(bench.packServices.protocols), new Set([null, 'version=1', 'version=2']));
  await untilClosed();
  const request = bench.packServices.requests.at(-1) ?? assert.fail();
  assert.deepEqual([request.tool, request.principal.uid, request.hasAdvertisement], ['hello', 'alice', true]);
});

test('a push over SSH that changes nothing shows the notice that the server has for it, and the server closes the push session', async () => {
  const work = await bench.makeRepository('nothing');
  bench.packServices.notice = 'Nothing was pushed.\n';
  assert.equal((await bench.git(['push', bench.url('wikibot'), 'main'], { cwd: work })).code, 0);
  const again = await bench.git(['push', bench.url('wikibot'), 'main'], { cwd: work });
  assert.equal(again.code, 0);
  assert.match(again.stderr, /Nothing was pushed\./);
  assert.match(again.stderr, /Everything up-to-date/);
  assert.equal(
    (await bench.git(['push', bench.url('wikibot'), ':main'], { cwd: work })).code,
    1,
    'main was deleted',
  );
  await untilClosed();
});

test('a push of 64 MiB over SSH can be cloned again unchanged', async () => {
  const work = await bench.makeRepository('big');
  writeFileSync(join(work, 'big.bin'), randomBytes(BIG_BYTES));
  await bench.git(['add', '.'], { cwd: work });
  await bench.git(['commit', '-q', '-m', 'big'], { cwd: work });
  const push = await bench.git(['push', '-q', '-f', bench.url('hello'), 'main'], { cwd: work });
  assert.deepEqual([push.code, push.stderr], [0, '']);
  const clone = bench.path('big-clone');
  assert.equal((await bench.git(['clone', '-q', bench.url('hello'), clone])).code, 0);
  // git checks the SHA-1 of every object, so an equal tree means that the large file is unchanged.
  assert.equal(idOf(clone, 'HEAD^{tree}'), idOf(work, 'HEAD^{tree}'));
  assert.ok(readFileSync(join(clone, 'big.bin')).equals(readFileSync(join(work, 'big.bin'))));
});

for (const { name, tool, key, login = 'alice', args, message } of [
  {
    name: 'a missing tool',
    tool: 'nowhere',
    key: 'alice',
    args: ['ls-remote'],
    message: /^fatal: remote error: There is no tool nowhere that alice maintains\.\n !/,
  },
  {
    name: 'another person’s tool',
    tool: 'hello',
    key: 'bob',
    login: 'bob',
    args: ['ls-remote'],
    message: /^fatal: remote error: There is no tool hello that bob maintains\.\n !/,
  },
  {
    name: 'another person’s tool, to push',
    tool: 'hello',
    key: 'bob',
    login: 'bob',
    args: ['push'],
    message: /^fatal: remote error: There is no tool hello that bob maintains\.\n !/,
  },
  {
    name: 'a disabled tool, to push',
    tool: 'frozen',
    key: 'alice',
    args: ['push'],
    message: /^fatal: remote error: The tool frozen is disabled\./,
  },
  {
    name: 'a push to the path a/b',
    tool: 'a/b',
    key: 'alice',
    args: ['push'],
    message: /^fatal: remote error: "\/a\/b\.git" is not the repository of a tool\./,
  },
]) {
  test(`over SSH, git shows the reason of a refusal: ${name}`, async () => {
    const work = await bench.makeRepository(`refused-${name.length}`);
    const opened = bench.packServices.opened;
    const [verb = '', ...rest] = args;
    const refs = verb === 'push' ? ['main'] : rest;
    for (const version of ['0', '2']) {
      const command = ['-c', `protocol.version=${version}`, verb, bench.url(tool, login), ...refs];
      const { code, stderr } = await bench.git(command, { key, cwd: work });
      assert.equal(code, 128);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /correct access rights/);
    }
    assert.equal(bench.packServices.opened, opened);
  });
}

test('a maintainer can list the refs of a disabled tool over SSH', async () => {
  assert.equal((await bench.git(['ls-remote', bench.url('frozen')])).code, 0);
});

test('over SSH, git shows why a fetch is refused, and only a number if the server has a bug', async () => {
  bench.packServices.error = new DeployError('FROZEN', 'the tool hello is frozen', 'Wait.');
  assert.match(
    (await bench.git(['ls-remote', bench.url('hello')])).stderr,
    /^fatal: remote error: The tool hello is frozen\.\n ! {5}Wait\./,
  );
  bench.packServices.error = new TypeError('/secret/path');
  const { stderr } = await bench.git(['ls-remote', bench.url('hello')]);
  assert.match(stderr, /^fatal: remote error: Something went wrong in the server/);
  assert.doesNotMatch(stderr, /secret/);
  const id = String((await bench.waitForLog('session broke'))['id']);
  assert.ok(stderr.includes(id));
});

test('threat 34: if a push over SSH is refused early, the reason reaches a client that is still sending 64 MiB', async () => {
  const work = await bench.makeRepository('early');
  writeFileSync(join(work, 'big.bin'), randomBytes(BIG_BYTES));
  await bench.git(['add', '.'], { cwd: work });
  await bench.git(['commit', '-q', '-m', 'big'], { cwd: work });
  bench.packServices.refusal = 'frozen until Monday';
  const { code, stderr } = await bench.git(['push', '-f', bench.url('wikibot'), 'HEAD:refs/heads/main'], {
    cwd: work,
  });
  assert.equal(code, 1, stderr);
  assert.match(stderr, /! \[remote rejected\] HEAD -> main \(frozen until Monday\)/);
  assert.doesNotMatch(stderr, /hung up|broken pipe/i);
  await untilClosed();
});

test('if the server’s git fails, the SSH client sees a number and no path of the server', async () => {
  writeFileSync(join(bench.packServices.repository('frozen'), 'config'), '[core');
  const { stderr, code } = await bench.git(['ls-remote', bench.url('frozen')]);
  assert.equal(code, 128);
  const line = await bench.waitForLog('git failed');
  assert.ok(stderr.includes(String(line['id'])));
  assert.match(String(line['stderr']), /bad config line/);
  assert.doesNotMatch(stderr, /bad config line|ssh-door-/);
});

for (const [name, request, complaint] of [
  [
    'a filter that was not advertised',
    (id: string) => fetchOf(`want ${id}`, 'filter blob:none', 'done'),
    /unexpected line: 'filter blob:none'/,
  ],
  [
    'a long line that git does not know',
    (id: string) => fetchOf(`want ${id}`, 'x'.repeat(7000)),
    /unexpected line: 'x{100,200}$/m,
  ],
  ['an unknown command', () => [packet('command=steal'), '0000'], /invalid command 'steal'/],
  [
    'an object that the server does not offer',
    () => fetchOf(`want ${'1'.repeat(40)}`, 'done'),
    /not our ref 1{40}/,
  ],
] as const) {
  test(`a fetch with ${name} is refused with git's reason, and is not logged as a failure of git`, async () => {
    const work = await bench.makeRepository('refused');
    await bench.git(['push', '-f', bench.url('hello'), 'main'], { cwd: work });
    const client = await connect({
      port: bench.port,
      username: 'alice',
      privateKey: readFileSync(bench.path('alice')),
    });
    try {
      const channel = await exec(client, "git-upload-pack '/hello.git'", { GIT_PROTOCOL: 'version=2' });
      channel.end(request(idOf(work, 'main')).join(''));
      const { code, stderr } = await readAll(channel);
      assert.equal(code, 128);
      assert.match(String(stderr), /The git client sent a request that this server does not accept\./);
      assert.match(String(stderr), complaint);
      assert.doesNotMatch(String(stderr), /Something went wrong|you did not cause this/);
      const line = await bench.waitForLog('git refused the request of a client');
      assert.deepEqual([line['level'], line['tool'], line['uid']], [30, 'hello', 'alice']);
      assert.ok(!bench.logged.some(({ msg }) => msg === 'git failed'));
    } finally {
      client.end();
    }
  });
}

const packet = (line: string) => `${(line.length + 5).toString(16).padStart(4, '0')}${line}\n`;

/** A fetch in the protocol version 2 with these lines. */
const fetchOf = (...lines: string[]) => [packet('command=fetch'), '0001', ...lines.map(packet), '0000'];

test('threat 82: if an SSH client is killed while it sends its pack, the push session is closed, and no ref is made', async () => {
  const client = await connect({
    port: bench.port,
    username: 'alice',
    privateKey: readFileSync(bench.path('alice')),
  });
  const channel = await exec(client, "git-receive-pack '/wikibot.git'");
  await new Promise((resolve) => channel.once('data', resolve));
  const line = `${'0'.repeat(40)} ${'1'.repeat(40)} refs/heads/cut\0 report-status`;
  const length = (line.length + 4).toString(16).padStart(4, '0');
  const header = Buffer.from(`${length}${line}0000PACK\0\0\0\u0002\0\0\0\u0009`);
  await new Promise((resolve) => channel.write(Buffer.concat([header, randomBytes(100_000)]), resolve));
  (client as unknown as { _sock: { destroy(): void } })._sock.destroy();
  await untilClosed();
  assert.throws(() => idOf(bench.packServices.repository('wikibot'), 'refs/heads/cut'));
});

test('threat 54: if the SSH client of a push is killed, the hook of the push still runs to its end', async () => {
  const work = await bench.makeRepository('leave');
  const repository = bench.packServices.repository('wikibot');
  const [gate, done] = [bench.path('gate'), bench.path('done')];
  execFileSync('mkfifo', [gate]);
  const hook = join(repository, 'hooks', 'post-receive');
  writeFileSync(
    hook,
    `#!/bin/sh\ntrap '' PIPE HUP\necho started\nread go < ${gate}\nhead -c 300000 /dev/zero | tr '\\0' x\necho deployed > ${done}\n`,
  );
  chmodSync(hook, 0o755);
  const push = execa('git', ['push', bench.url('wikibot'), 'main:refs/heads/leave'], {
    cwd: work,
    env: bench.gitEnvironment('alice'),
    reject: false,
    killDescendants: true,
  });
  await new Promise<void>((resolve) =>
    push.stderr.on('data', (text: Buffer) => String(text).includes('started') && resolve()),
  );
  push.kill('SIGKILL');
  await push;
  await bench.waitForLog('ssh login');
  assert.equal(existsSync(done), false);
  const pipe = await open(gate, 'w');
  await pipe.write('go\n');
  await pipe.close();
  await untilClosed();
  assert.equal(readFileSync(done, 'utf8'), 'deployed\n');
  chmodSync(hook, 0o644);
});

test('a fetch over SSH ends if its client disconnects', async () => {
  const client = await connect({
    port: bench.port,
    username: 'alice',
    privateKey: readFileSync(bench.path('alice')),
  });
  const channel = await exec(client, "git-upload-pack '/hello.git'");
  await new Promise((resolve) => channel.once('data', resolve));
  (client as unknown as { _sock: { destroy(): void } })._sock.destroy();
  const line = await bench.waitForLog('git ended after its client had disconnected');
  assert.equal(line['status'], null);
});

test('an SSH client gets the exit status of the server’s git', async () => {
  const client = await connect({
    port: bench.port,
    username: 'alice',
    privateKey: readFileSync(bench.path('alice')),
  });
  const channel = await exec(client, "git-upload-pack '/hello.git'");
  channel.end('0032want 0000000000000000000000000000000000000001\n00000009done\n');
  const { code, stdout } = await readAll(channel);
  assert.equal(code, 128);
  assert.match(stdout.toString(), /ERR upload-pack: not our ref/);
  client.end();
});
