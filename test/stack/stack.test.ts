import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { signal } from '../../src/sandbox/process/process-table.ts';
import { describeStack } from '../../src/stack/stacks.ts';
import { isRoot } from '../sandbox/sandbox-bench.ts';
import { TestServer } from '../support/server.ts';
import { liveTool, type WorkTree } from '../support/work-tree.ts';

const source = resolve(import.meta.dirname, '../..');
/** A short list of packages, so that a stack is made quickly. Only its tree for builds has the program make. */
const TINY = 'suite trixie\nrun ca-certificates file\nbuild make\n';
/** Prints the mounts of the sandbox, and a few facts about its Debian tree. */
const LOOK =
  'cat /etc/debian_version; command -v make mmdebstrap node; cat /proc/self/mountinfo; cat /etc/passwd; cat /etc/shadow 2>&1; ls /etc';
const TOOL = {
  LICENSE: 'CC0-1.0\n',
  'build.sh': `{ ${LOOK}; cp /cnb/run-image/dpkg-status .; echo "stack: \${TOOLFORGE_STACK:-}"; } >built.txt\n`,
  'look.sh': `${LOOK}; sleep "\${1:-0}"\n`,
  'app.json': '{"formation":{"worker":{"quantity":1}}}\n',
  Procfile: 'release: bash look.sh\nworker: bash look.sh 1000000\n',
};

/** Whether this machine has everything that `stack make` needs. */
const canMake = ['mmdebstrap', 'newuidmap'].every((program) => {
  try {
    execFileSync('which', [program]);
    return true;
  } catch {
    return false;
  }
});
const skip = canMake && isRoot ? false : 'needs root, and the packages mmdebstrap and uidmap';

/** Checks what a tool saw: the tree of this stack and no file of this machine, except some files in /etc. */
function assertTree(text: string, tree: 'build' | 'run', id = 'trixie-1'): void {
  assert.match(text, /^13\.\d/m, 'the version of Debian');
  assert.equal(/^\/usr\/bin\/make$/m.test(text), tree === 'build');
  assert.ok(!/^\/usr\/(s?bin|local\/bin)\/(mmdebstrap|node)$/m.test(text), 'a program of this machine');
  // proc(5): the fields are the mount's id, its parent, the device, the folder of the file system, and the target.
  const mounts = Array.from(text.matchAll(/^\d+ \d+ \S+ (\S+) (\S+) /gm), ([, root = '', target = '']) => ({
    root,
    target,
  })).filter(({ target }) => /^\/(usr|s?bin|lib|etc|var|opt|boot|srv|root)/.test(target));
  const own = mounts.filter(({ root }) => new RegExp(`/stacks/${id}/trees-\\d+/${tree}/`).test(root));
  assert.deepEqual(own.map(({ target }) => target).sort(), ['/etc', '/usr', '/var']);
  const others = mounts.filter((mount) => !own.includes(mount)).map(({ target }) => target);
  const allowed = ['group', 'hosts', 'passwd', 'resolv.conf', 'ssl/certs/ca-certificates.crt'];
  assert.deepEqual(
    others.filter((target) => !allowed.includes(target.replace('/etc/', ''))),
    [],
  );
  assert.match(text, /^tool:x:1000:1000:/m);
}

describe('a stack that root makes', { skip }, () => {
  let server: TestServer;
  let list: string;
  let tree: WorkTree;
  before(async () => {
    server = await TestServer.start();
    list = join(server.folder, 'packages');
    await writeFile(list, TINY);
    await liveTool(server, 'early', TOOL);
  });
  after(async () => server[Symbol.asyncDispose]());

  const look = async (tool: string) => (await server.command('run', tool, 'bash', 'look.sh')).stdout;
  const listed = async () => JSON.parse((await server.local('stack', 'list', '--json')).stdout);

  test('an interrupted `stack make` leaves no stack; the next `stack make` continues, and names the tools that do not run on the new stack', async () => {
    const words = [join(source, 'src/cli/bin.ts'), 'stack', 'make', '--packages', list];
    const options = { env: server.environment, extendEnv: false, reject: false, stdin: 'ignore' } as const;
    const first = execa(process.execPath, words, { ...options, detached: true });
    first.stdout.on('data', (chunk) => {
      if (String(chunk).includes('tree for builds')) signal(-(first.pid ?? 0), 'SIGKILL');
    });
    const { stdout: begun } = await first;
    for (const line of [
      /^-----> Fetching Debian’s lists of packages$/m,
      /^-----> Downloading \d+ packages, \d+ MB$/m,
      /^-----> Making the tree for tools$/m,
    ])
      assert.match(begun, line);
    assert.deepEqual(await readdir(join(server.folder, 'data/stacks')), ['making']);
    const { exitCode, stdout, stderr } = await execa(process.execPath, words, options);
    assert.equal(exitCode, 0, stdout + stderr);
    assert.doesNotMatch(stdout, /Downloading|tree for tools/);
    assert.match(stdout, /^=====> Stack trixie-1: new builds use it$/m);
    assert.match(
      stdout,
      /^Tools that still run on an older stack, .*: early\. .*: npx toolforge-push stack move$/m,
    );
    assert.deepEqual(await readdir(join(server.folder, 'data/stacks')), ['trixie-1']);
  });

  test('the trees of a stack have no devices, and no files with set-user or set-group bits', async () => {
    const stack = join(server.folder, 'data/stacks/trixie-1/trees-1');
    const { stdout } = await execa('find', [
      ...[stack, '-perm', '/6000', '-type', 'f', '-print'],
      ...['-o', '-type', 'b', '-print', '-o', '-type', 'c', '-print'],
    ]);
    assert.equal(stdout, '');
  });

  test('a build sees the tree for builds, and all processes of a tool see the tree for tools', async () => {
    tree = (await liveTool(server, 'hello', TOOL)).tree;
    const files = await server.command('run', 'hello', 'cat', 'built.txt');
    assertTree(files.stdout, 'build');
    assert.match(files.stdout, /^stack: $/m);
    assertTree(await look('hello'), 'run');
    const { stdout: logs } = await server.command('logs', 'hello', '-n', '5000');
    for (const process of ['release.1', 'worker.1']) {
      const lines = logs.split('\n').filter((line) => line.includes(`${process}`));
      assertTree(lines.map((line) => line.replace(/^.*?\b(?:release|worker)\.1\S*\s/, '')).join('\n'), 'run');
    }
    const status = await server.command('run', 'hello', 'cat', 'dpkg-status');
    assert.match(status.stdout, /^Package: file$/m);
    assert.doesNotMatch(status.stdout, /^Package: make$/m);
  });

  test('a release that was built before the first stack keeps the programs of this machine', async () => {
    const { stdout } = await server.command('run', 'early', 'cat', '/proc/self/mountinfo');
    assert.match(stdout, / \/usr \/usr /);
    const built = await server.command('run', 'early', 'cat', 'built.txt');
    assert.match(built.stdout, /^stack: none$/m, 'buildpacks know that a stack would help');
  });

  test('`stack update` makes new trees of the stack, and the next start of the server removes the old trees', async () => {
    const updated = await server.local('stack', 'update', '--packages', list);
    assert.equal(updated.exitCode, 0, updated.stdout + updated.stderr);
    const folder = join(server.folder, 'data/stacks/trixie-1');
    assert.deepEqual((await readdir(folder)).sort(), ['stack.json', 'trees', 'trees-1', 'trees-2']);
    assertTree(await look('hello'), 'run');
    await server.kill('SIGTERM');
    await server.boot();
    assert.deepEqual((await readdir(folder)).sort(), ['stack.json', 'trees', 'trees-2']);
  });

  test('`stack update` is refused if the list of packages is not the list with which the stack was made', async () => {
    const other = join(server.folder, 'other-packages');
    await writeFile(other, `${TINY}run less\n`);
    const { exitCode, stderr } = await server.local('stack', 'update', '--packages', other);
    assert.equal(exitCode, 1);
    assert.match(stderr, /the list of packages has changed since trixie-1 was made/);
  });

  test('after another stack has been made, `stack list` shows the tools on the old stack, and `stack move` builds them again', async () => {
    // A copy with a later time stands for a new stack, because to make one takes half a minute.
    const stacks = join(server.folder, 'data/stacks');
    await execa('cp', ['-al', join(stacks, 'trixie-1'), join(stacks, 'copy')]);
    const description = JSON.parse(await readFile(join(stacks, 'copy/stack.json'), 'utf8'));
    await rm(join(stacks, 'copy/stack.json'));
    await describeStack(join(stacks, 'copy'), {
      ...description,
      id: 'trixie-2',
      version: 2,
      madeAt: Date.now(),
    });
    await rename(join(stacks, 'copy'), join(stacks, 'trixie-2'));
    const tools = (rows: { id: string | null; tools: string[] }[]) =>
      rows.map(({ id, tools: on }) => [id, on]);
    assert.deepEqual(tools(await listed()), [
      ['trixie-2', []],
      ['trixie-1', ['hello']],
      [null, ['early']],
    ]);
    assertTree(await look('hello'), 'run', 'trixie-1');
    const moved = await server.local('stack', 'move');
    assert.equal(moved.exitCode, 0, moved.stdout + moved.stderr);
    assert.match(moved.stdout, /^-----> hello: from trixie-1 to trixie-2$/m);
    assert.match(moved.stdout, /^-----> early: from this machine’s own system to trixie-2$/m);
    assert.deepEqual(tools(await listed()), [
      ['trixie-2', ['early', 'hello']],
      ['trixie-1', []],
    ]);
    assertTree(await look('hello'), 'run', 'trixie-2');
    assert.match((await server.local('stack', 'move', 'hello')).stdout, /^hello needs no move/);
  });

  test('after a rollback, the tool runs on its old stack, which is removed when no artifact needs it any more', async () => {
    const back = await server.command('rollback', 'hello');
    assert.equal(back.exitCode, 0, back.stderr);
    assertTree(await look('hello'), 'run', 'trixie-1');
    server.change({ TOOLFORGE_PUSH_KEEP_ARTIFACTS: '1' });
    await server.kill('SIGTERM');
    await server.boot();
    for (const text of ['two', 'three', 'four']) {
      await tree.commit(text, { 'note.txt': text });
      const pushed = await tree.push();
      assert.equal(pushed.exitCode, 0, pushed.stderr);
    }
    assert.deepEqual(
      (await listed()).map(({ id }: { id: string }) => id),
      ['trixie-2'],
    );
    assert.deepEqual(await readdir(join(server.folder, 'data/stacks')), ['trixie-2']);
  });

  test('if the stack of the live release is lost, the command `run` fails, and the error names the stack', async () => {
    await rm(join(server.folder, 'data/stacks/trixie-2'), { recursive: true });
    const { exitCode, stderr } = await server.command('run', 'hello', 'true');
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /was built on the stack trixie-2, which this server no longer has/);
  });
});

test('a plain user makes a stack with user namespaces, and a program in the sandbox sees only the tree for tools', {
  skip,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stack-'));
  try {
    await writeFile(join(folder, 'packages'), TINY);
    for (const name of ['subuid', 'subgid']) await writeFile(join(folder, name), 'nobody:100000:65536\n');
    await writeFile(join(folder, 'look.ts'), lookAsUser(join(folder, 'data')));
    await execa('chown', ['-R', 'nobody:nogroup', folder]);
    // The user gets subordinate ids only in a mount namespace of this test.
    const script = `for name in subuid subgid; do touch /etc/$name && mount --bind "$0/$name" /etc/$name; done
      exec setpriv --reuid nobody --regid nogroup --init-groups -- "$@"`;
    const asUser = (...words: string[]) =>
      execa('unshare', ['--mount', 'sh', '-euc', script, folder, process.execPath, ...words], {
        env: { TOOLFORGE_PUSH_DATA: join(folder, 'data'), HOME: folder },
        reject: false,
        stdin: 'ignore',
      });
    const { exitCode, stdout, stderr } = await asUser(
      join(source, 'src/cli/bin.ts'),
      ...['stack', 'make', '--packages', join(folder, 'packages')],
    );
    assert.equal(exitCode, 0, stdout + stderr);
    const strangers = await execa('find', [join(folder, 'data'), '!', '-user', 'nobody']);
    assert.equal(strangers.stdout, '');
    const look = await asUser(join(folder, 'look.ts'));
    assertTree(look.stdout, 'run');
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** A program that runs `LOOK` in a sandbox with the tree of the stack. */
function lookAsUser(data: string): string {
  const path = (name: string) => JSON.stringify(join(source, name));
  return `import { chooseSandbox } from ${path('src/sandbox/choose-sandbox.ts')};
import { runIn } from ${path('test/sandbox/sandbox-bench.ts')};
const data = ${JSON.stringify(data)};
const config = { data, sandbox: 'isolated', sandbox_uid: 700000, blocked_networks: [] };
const { sandbox } = await chooseSandbox(config, { error: console.error });
const tree = data + '/stacks/trixie-1/trees/run';
const { output } = await runIn(sandbox, ['bash', '-c', ${JSON.stringify(LOOK)}], { tree });
console.log(output);
`;
}
