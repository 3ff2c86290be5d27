import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { execa } from 'execa';
import { serveControl } from '../../src/cli/control/control-protocol.ts';
import { runCommand } from '../../src/cli/run-command.ts';
import { createLog } from '../../src/core/log/log.ts';
import { LocalSocket } from '../../src/local-socket/local-socket.ts';
import { Desk } from '../support/cli-services.ts';
import { wikibot } from '../support/store-records.ts';

const root = mkdtempSync(join(tmpdir(), 'bin-'));
after(() => rmSync(root, { recursive: true, force: true }));
const newFolder = () => mkdtempSync(join(root, 'data-'));
const binary = join(import.meta.dirname, '../../src/cli/toolforge-push.js');

function bin(data: string, argv: readonly string[], options: { node?: string; input?: string } = {}) {
  return execa(options.node ?? process.execPath, [binary, ...argv], {
    env: { PATH: process.env['PATH'], TOOLFORGE_PUSH_DATA: data },
    extendEnv: false,
    reject: false,
    timeout: 30_000,
    ...(options.input === undefined ? { stdin: 'ignore' } : { input: options.input }),
  });
}

/** Serves the local socket of the data folder `data`, as the server does. Its clients' commands run on a new `Desk`. */
async function servedDesk(data: string) {
  const desk = new Desk();
  const operator = { ...desk.alice, uid: 'operator', door: 'local', isOperator: true } as const;
  const server = new LocalSocket({
    path: join(data, 'run', 'server.sock'),
    log: createLog('silent'),
    serve: ({ socket, firstLine, rest }) =>
      serveControl(socket, firstLine, rest, (line) =>
        runCommand({ ...line, services: desk.services, principal: operator }),
      ),
  });
  await server.listen();
  return {
    desk,
    async [Symbol.asyncDispose]() {
      await server.close();
      desk[Symbol.dispose]();
    },
  };
}

test('`help` of the local binary needs no running server, and lists commands in lines of at most 120 characters', async () => {
  const { exitCode, stdout, stderr } = await bin(newFolder(), ['help']);
  assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
  assert.match(
    stdout,
    /^Usage: npx toolforge-push COMMAND …\n\n {2}start .*start the server\n {2}user add NAME/,
  );
  assert.match(stdout, /\n {2}config unset TOOL NAME … /);
  assert.ok(stdout.split('\n').every((line) => line.length <= 120));
});

test('before the first start, `user add` makes the data folder and the user directory', async () => {
  const data = join(newFolder(), 'not/yet');
  const bad = await bin(data, ['user', 'add', '../alice']);
  assert.equal(bad.exitCode, 1);
  assert.equal(existsSync(join(data, 'directory.yaml')), false, 'a refused command made directory.yaml');
  const added = await bin(data, ['user', 'add', 'alice']);
  assert.deepEqual([added.exitCode, added.stderr], [0, '']);
  assert.match(added.stdout, /^Added alice\.\nPassword: \S+ {3}\(shown this once\)$/);
  const tool = await bin(data, ['tool', 'add', 'wikibot', '--maintainer', 'alice']);
  assert.equal(tool.exitCode, 0);
  assert.match(
    readFileSync(join(data, 'directory.yaml'), 'utf8'),
    /^# The users of this server.+\n\nusers:\n {2}alice:/s,
  );
  assert.equal(statSync(join(data, 'directory.yaml')).mode & 0o777, 0o600);
});

for (const kept of ['store.sqlite', 'repositories', 'releases', 'backups']) {
  test(`if directory.yaml is lost but ${kept} is left, the command \`user add\` makes no new directory.yaml`, async () => {
    const data = newFolder();
    writeFileSync(join(data, kept), '');
    const { exitCode, stderr } = await bin(data, ['user', 'add', 'alice']);
    assert.equal(exitCode, 1);
    assert.match(stderr, /There is no user directory yet\..*\n.* see: npx toolforge-push doctor/);
    assert.equal(existsSync(join(data, 'directory.yaml')), false);
  });
}

test('a command of the local binary says how to start a server if no server runs', async () => {
  const { exitCode, stdout, stderr } = await bin(newFolder(), ['ps', 'wikibot']);
  assert.deepEqual({ exitCode, stdout }, { exitCode: 1, stdout: '' });
  assert.match(stderr, /No server runs on this data folder.\n ! {5}Start a server with `npm start`/);
});

for (const { name, argv, says } of [
  { name: 'an unknown command', argv: ['fly'], says: /no command “fly”/ },
  { name: 'the first word of a command alone', argv: ['user'], says: /no command “user”/ },
  { name: '`start` with an argument', argv: ['start', 'now'], says: /start takes no arguments/ },
]) {
  test(`for the local binary, ${name} is a usage error`, async () => {
    const { exitCode, stderr } = await bin(newFolder(), argv);
    assert.equal(exitCode, 2);
    assert.match(stderr, says);
  });
}

test('commands of the local binary run in the server as the operator, and their input, output and exit status pass through unchanged', async () => {
  const data = newFolder();
  await using served = await servedDesk(data);
  const { desk } = served;
  desk.maintain(wikibot, 'alice');
  desk.deployments.isStoredOnly = true;
  const set = await bin(data, ['config', 'set', 'wikibot', 'KEY', '-'], { input: 's3cret wörds\n' });
  assert.deepEqual(
    [set.exitCode, set.stdout],
    [0, 'The config vars are stored. The first deployment of wikibot will have them.'],
  );
  assert.deepEqual(desk.deployments.calls, [['configure', 'wikibot', { KEY: 's3cret wörds' }]]);
  desk.deployments.calls.length = 0;
  const file = join(data, 'settings.env');
  writeFileSync(file, 'A=1\nB="two\nlines"\n');
  assert.equal((await bin(data, ['config', 'import', 'wikibot', file, '--no-restart'])).exitCode, 0);
  assert.equal((await bin(data, ['config', 'import', 'wikibot', '-'], { input: 'A=2\n' })).exitCode, 0);
  assert.deepEqual(desk.deployments.calls, [
    ['configure for later', 'wikibot', { A: '1', B: 'two\nlines' }],
    ['configure', 'wikibot', { A: '2' }],
  ]);
  const missing = await bin(data, ['config', 'import', 'wikibot', `${file}x`]);
  assert.match(missing.stderr, /The file \S+\.envx cannot be read \(ENOENT\)/);
  desk.deployments.verdict = { isLive: false, reason: 'build failed; v1 is still live' };
  const redeploy = await bin(data, ['redeploy', 'wikibot']);
  assert.equal(redeploy.exitCode, 1);
  assert.equal(redeploy.stdout, '-----> Releasing v2\n=====> v2 is live');
  assert.match(redeploy.stderr, /^ ! {5}Build failed; v1 is still live\./);
  assert.equal((await bin(data, ['ps', 'nobodys'])).exitCode, 1);
  assert.equal((await bin(data, ['ps'])).exitCode, 2);
});

test('a command of the local binary that needs no input does not read standard input', async () => {
  const data = newFolder();
  await using served = await servedDesk(data);
  served.desk.maintain(wikibot, 'alice');
  const script = `while read -r tool; do "${process.execPath}" "${binary}" tools --json; done`;
  const { stdout } = await execa('sh', ['-c', script], {
    env: { PATH: process.env['PATH'], TOOLFORGE_PUSH_DATA: data },
    extendEnv: false,
    input: 'one\ntwo\n',
    timeout: 30_000,
  });
  assert.equal(stdout, '[]\n[]');
});

test('if the reader of the output closes the pipe, the local binary ends without printing a stack trace', async () => {
  const data = newFolder();
  await using served = await servedDesk(data);
  served.desk.maintain(wikibot, 'alice');
  served.desk.runtime.lines = Array.from({ length: 10_000 }, () => ({
    at: 'now',
    process: 'web.1',
    version: null,
    text: 'x'.repeat(200),
  }));
  const script = `"${process.execPath}" "${binary}" logs wikibot | head -1; echo done`;
  const { stdout, stderr } = await execa('sh', ['-c', script], {
    env: { PATH: process.env['PATH'], TOOLFORGE_PUSH_DATA: data },
    extendEnv: false,
    timeout: 30_000,
  });
  assert.match(stdout, /^now web.1: x+\ndone$/);
  assert.equal(stderr, '');
});

test('commands on users and tools work without a running server', async () => {
  const data = newFolder();
  writeFileSync(join(data, 'directory.yaml'), 'users: {}\ntools: {}\n');
  const add = await bin(data, ['user', 'add', 'alice', '--password-stdin'], { input: 's3cret words\n' });
  assert.deepEqual([add.exitCode, add.stdout, add.stderr], [0, 'Added alice.\nPassword set.', '']);
  assert.equal((await bin(data, ['tool', 'add', 'wikibot', '--maintainer', 'alice'])).exitCode, 0);
  assert.match((await bin(data, ['tool', 'list'])).stdout, /wikibot {2}alice/);
});

const older = ['/usr/bin/node', '/usr/local/bin/node'].find((path) => existsSync(path));
const olderMajor =
  older === undefined
    ? 24
    : Number((await execa(older, ['-p', 'process.versions.node'])).stdout.split('.')[0]);

test('if an older Node starts the local binary, the binary starts its own Node, with the same input and exit status', {
  skip: olderMajor >= 24 ? 'no older Node here' : false,
}, async () => {
  const data = newFolder();
  writeFileSync(join(data, 'directory.yaml'), 'users: {}\ntools: {}\n');
  const node = older ?? '';
  const add = await bin(data, ['user', 'add', 'alice', '--password-stdin'], {
    node,
    input: 's3cret words\n',
  });
  assert.deepEqual([add.exitCode, add.stdout, add.stderr], [0, 'Added alice.\nPassword set.', '']);
  assert.equal((await bin(data, ['fly'], { node })).exitCode, 2);
});

test('`user add --password-stdin` asks for a password at a terminal and does not show what is typed', async () => {
  const data = newFolder();
  writeFileSync(join(data, 'directory.yaml'), 'users: {}\ntools: {}\n');
  const command = `${process.execPath} ${binary} user add bob --password-stdin`;
  const child = execa('script', ['-qec', command, '/dev/null'], {
    env: { PATH: process.env['PATH'], TOOLFORGE_PUSH_DATA: data, SHELL: '/bin/sh' },
    extendEnv: false,
    timeout: 30_000,
    stdin: 'pipe',
  });
  let shown = '';
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
    if (shown === 'Password: ') child.stdin.write('correct horse\r');
  });
  await child;
  assert.match(shown, /^Password: \r\nAdded bob\.\r\nPassword set\.\r\n$/);
});
