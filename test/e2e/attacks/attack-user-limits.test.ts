import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { openArtifacts } from '../../../src/tool-users.ts';
import { isRoot } from '../../sandbox/sandbox-bench.ts';
import { FIRST_UID, PLAIN_UID } from '../../support/programs/as-plain-user.ts';
import { TestServer, until } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';

const skip = isRoot ? false : 'only root can start a server under another user';
let server: TestServer;
before(async () => {
  if (isRoot) server = await TestServer.start({}, 'test/support/programs/as-plain-user.ts');
});
after(async () => server?.[Symbol.asyncDispose]());

/**
 * A Python program that opens 1,202 pipes, more than Linux gives one user with buffers of the usual size, and makes a
 * folder with mode 000.
 */
const greedy = `import os, time
ready = os.pipe()
if os.fork() == 0:
    held = [os.pipe() for _ in range(600)]
    os.write(ready[1], b'x')
    while True: time.sleep(60)
held = [os.pipe() for _ in range(600)]
os.read(ready[0], 1)
os.makedirs('/tmp/locked/inner')
os.chmod('/tmp/locked', 0)
`;

test('threat 60: if a tool uses up the pipe buffers of its system user, new pipes of the server’s user, who is not root, still hold 64 KiB', {
  skip,
}, async () => {
  await server.addTool('greedy');
  const tree = await WorkTree.create(server, 'http', 'greedy');
  const files = webTool('one');
  await tree.commit('one', { ...files, 'server.py': `${greedy}${files['server.py']}` });
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  const user = ['--reuid', `${PLAIN_UID}`, '--regid', `${PLAIN_UID}`, '--clear-groups', '--'];
  const size = 'import fcntl, os; print(fcntl.fcntl(os.pipe()[0], 1032))';
  const { stdout } = await execa('setpriv', [...user, '/usr/bin/python3', '-c', size]);
  assert.equal(stdout, '65536');
});

test('if tools have users of their own and the server is not root, the server’s user can run `doctor`, which reports that the data is whole', {
  skip,
}, async () => {
  const user = ['--reuid', `${PLAIN_UID}`, '--regid', `${PLAIN_UID}`, '--clear-groups', '--'];
  const bin = resolve(import.meta.dirname, '../../../src/cli/bin.ts');
  const options = { env: server.environment, extendEnv: false };
  const { stdout } = await execa('setpriv', [...user, process.execPath, bin, 'doctor'], options);
  assert.match(stdout, /is whole/);
});

test('threat 64: the system users of tools may read an artifact that was built before tools had such users, but only the server’s user can list the folders above it', async () => {
  const data = await mkdtemp(join(tmpdir(), 'earlier-'));
  const artifact = join(data, 'artifacts/hello/20260101-secret');
  await mkdir(artifact, { recursive: true });
  for (const [folder, mode] of [
    ['', 0o711],
    ['hello', 0o711],
    ['hello/20260101-secret', 0o700],
  ] as const)
    await chmod(join(data, 'artifacts', folder), mode);
  await openArtifacts(data);
  const modes = ['', 'hello', 'hello/20260101-secret'].map(
    (folder) => statSync(join(data, 'artifacts', folder)).mode & 0o777,
  );
  await rm(data, { recursive: true });
  assert.deepEqual(modes, [0o711, 0o711, 0o755]);
});

/**
 * The running processes of the tools' users. Nothing else on this machine uses the ids of these users.
 *
 * `ps` lists a process that has ended as a zombie until its parent has taken its exit status. If the server was killed,
 * the parent is process 1, which in some containers looks only every two seconds. `ps` lists all threads here, because
 * a process continues if only its first thread is a zombie.
 */
async function processesOfTools(): Promise<string[]> {
  const { stdout } = await execa('ps', ['-eLo', 'stat=,uid=,pid=']);
  const running = stdout.split('\n').flatMap((line) => {
    const [state = '', uid = '', pid = ''] = line.trim().split(/\s+/);
    const isOfTool = Number(uid) >= FIRST_UID && Number(uid) < FIRST_UID + 1000;
    return isOfTool && !/^[ZX]/.test(state) ? [pid] : [];
  });
  return [...new Set(running)];
}

test('after a server that is not root was killed, its next start ends the processes of tools that it left, and removes their folders, even those with mode 000', {
  skip,
}, async () => {
  const before = await processesOfTools();
  assert.ok(before.length > 0);
  await server.kill();
  await server.boot();
  await until(async () => (await server.get('greedy')).status === 200, 'the tool answers again');
  const now = await processesOfTools();
  assert.deepEqual(
    now.filter((pid) => before.includes(pid)),
    [],
  );
  await server.kill('SIGTERM');
  const { stdout } = await execa('find', [join(server.folder, 'data'), '-name', 'locked']);
  assert.equal(stdout, '');
});

test('a server whose tools have users of their own does not start if its user has no subordinate ids any more', {
  skip,
}, async () => {
  await writeFile(join(server.folder, 'subuid'), '');
  await assert.rejects(server.boot(), /TOOL_USERS_LOST: .*gives the user push-test no subordinate ids/);
});
