import assert from 'node:assert/strict';
import { lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { endLeftovers } from '../../src/sandbox/process/marked-processes.ts';
import { argumentsOf, isRunning, processIds } from '../../src/sandbox/process/process-table.ts';
import { until } from '../support/server.ts';
import { dataFolder, lineOf, runIn, sandboxIn, startIn } from './sandbox-bench.ts';

/** Lists the running processes on this machine of which one argument is exactly this text. */
function running(text: string): number[] {
  return processIds().filter((pid) => isRunning(pid) && argumentsOf(pid).some((word) => word === text));
}

for (const mode of ['isolated', 'trusted'] as const) {
  describe(`Sandbox: ${mode}`, () => {
    test('standard output and standard error of a command arrive in order, with the command’s exit code', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const script = 'echo one; echo two >&2; echo three > /dev/stdout; echo four > /dev/stderr; exit 7';
      const result = await runIn(sandbox, ['/bin/sh', '-c', script]);
      assert.equal(result.output, 'one\ntwo\nthree\nfour\n');
      assert.equal(result.code, 7);
      assert.equal(result.signal, null);
    });

    test('a command in a sandbox does not inherit the server’s environment, and its standard input is empty', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const env = { PATH: '/usr/bin:/bin', SAID: 'a b=c\n$x', EMPTY: '' };
      const script =
        'import os, sys; print(sorted(k for k in os.environ if not k.startswith("TOOLFORGE_PUSH_")), repr(os.environ["SAID"]), sys.stdin.read() == "")';
      const { output } = await runIn(sandbox, ['python3', '-c', script], { env });
      const names = output.replace(/'(LC_CTYPE|HOME|PWD)', /g, '');
      assert.equal(names, "['EMPTY', 'PATH', 'SAID'] 'a b=c\\n$x' True\n");
    });

    for (const { name, env, argv = ['ls', '/tmp'], message } of [
      {
        name: 'a NUL in a variable cannot add a mount',
        env: { FOO: 'v\0--bind\0/\0/tmp' },
        message: /^the variable "FOO" has a NUL character in it/,
      },
      {
        name: 'a NUL in a variable of the dynamic loader is refused',
        env: { LD_X: 'v\0--bind\0/\0/tmp' },
        message: /^the variable "LD_X" has a NUL character in it/,
      },
      {
        name: 'a NUL in the command is refused',
        env: {},
        argv: ['ls', '/\0tmp'],
        message: /^the command has a NUL/,
      },
      { name: 'a name with = is refused', env: { 'A=B': 'x' }, message: /^a variable has the name "A=B"/ },
      {
        name: 'a command that is too large for a program is refused',
        env: {},
        argv: ['ls', 'x'.repeat(300_000)],
        message: /together are too large to start a program/,
      },
    ]) {
      test(`threat 66: a command that cannot be passed to a sandbox is refused, and leaves no open file: ${name}`, async () => {
        await using data = await dataFolder();
        const sandbox = await sandboxIn(data.path, mode);
        const held = async () => (await readdir('/proc/self/fd')).length;
        const before = await held();
        for (let count = 0; count < 5; count += 1) {
          assert.throws(() => startIn(sandbox, argv, { env }), { code: 'NOT_PASSABLE', message });
        }
        await until(async () => (await held()) <= before, 'every descriptor of a failed start is closed');
        const left = (await readdir(data.path, { recursive: true })).filter((path) => path.includes('pipe-'));
        assert.deepEqual(left, []);
      });
    }

    test('in a sandbox, a command that does not exist ends with the exit code 127, and the output names the command', async () => {
      await using data = await dataFolder();
      const result = await runIn(await sandboxIn(data.path, mode), ['no-such-program']);
      assert.equal(result.code, 127);
      assert.match(result.output, /no-such-program/);
    });

    test('SIGTERM reaches the command in a sandbox, even if the command has not started yet', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const early = startIn(sandbox, ['/bin/sleep', '1000']);
      early.output.resume();
      early.terminate();
      assert.equal((await early.exited).signal, 'SIGTERM');
      const handler =
        'import signal,sys,time\nsignal.signal(15, lambda *_: sys.exit(42))\nprint("ready")\ntime.sleep(1000)';
      const late = startIn(sandbox, ['python3', '-u', '-c', handler]);
      await lineOf(late, /ready/);
      late.terminate();
      assert.equal((await late.exited).code, 42);
    });

    test('threat 61: all processes that a command in a sandbox started end with the command, even a daemon', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const number = `9${process.pid}1${mode === 'isolated' ? 1 : 2}`;
      const script = `setsid -f sleep ${number}; sleep ${number} & sleep 0.2; echo done`;
      const { output } = await runIn(sandbox, ['/bin/sh', '-c', script]);
      assert.equal(output, 'done\n');
      assert.deepEqual(running(number), []);
    });

    test('threat 61: `kill` ends all processes of a sandbox immediately, even right after the start', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const number = `9${process.pid}3${mode === 'isolated' ? 1 : 2}`;
      for (const isEarly of [true, false]) {
        const child = startIn(sandbox, [
          '/bin/sh',
          '-c',
          `setsid -f sleep ${number}; echo ready; sleep ${number}`,
        ]);
        if (isEarly) child.output.resume();
        else await lineOf(child, /ready/);
        child.kill();
        assert.equal((await child.exited).signal, 'SIGKILL');
        assert.deepEqual(running(number), []);
      }
    });

    test('threat 60: a process in a sandbox cannot use more memory than its limit', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const result = await runIn(sandbox, [
        'python3',
        '-c',
        'x = bytearray(1200 * 1024 * 1024); print("got it")',
      ]);
      assert.notEqual(result.code, 0);
      assert.match(result.output, /MemoryError/);
    });

    test('threat 60: a file that a sandbox writes cannot grow beyond the limit for single files', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const source = join(data.path, 'work');
      await mkdir(source);
      await sandbox.own([source], 1);
      const mount = { source, target: '/work', isWritable: true };
      const command = ['/bin/sh', '-c', 'head -c 5000000 /dev/zero > file; wc -c < file'];
      const result = await runIn(sandbox, command, { mounts: [mount], cwd: sandbox.path(mount) });
      assert.match(result.output, /^1048576$/m);
    });

    test('the server finds the ports that processes in a sandbox listen on', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const script =
        'import socket,time\na=socket.create_server(("127.0.0.1",15871)); b=socket.create_server(("::",15872),family=socket.AF_INET6)\nprint("ready"); time.sleep(1000)';
      const child = startIn(sandbox, ['python3', '-u', '-c', script]);
      await lineOf(child, /ready/);
      assert.deepEqual((await child.listeningPorts()).sort(), [15_871, 15_872]);
      child.kill();
      await child.exited;
      assert.deepEqual(await child.listeningPorts(), []);
    });

    test('threat 154: until a process is live, its oom_score_adj is higher, so that the kernel ends it before live processes if memory runs out', async () => {
      await using data = await dataFolder();
      const sandbox = await sandboxIn(data.path, mode);
      const script =
        'sleep 1000 & while read -r score </proc/self/oom_score_adj; do echo "score $score"; sleep 0.05; done';
      const child = startIn(sandbox, ['/bin/sh', '-c', script], { endsFirst: true });
      await lineOf(child, /^score 900$/);
      child.settle();
      await lineOf(child, /^score 500$/);
      child.kill();
      await child.exited;
    });

    test('no argument list on this machine contains secrets from a command’s environment', async () => {
      await using data = await dataFolder();
      const secret = `hunter2-${process.pid}-${mode}`;
      const child = startIn(await sandboxIn(data.path, mode), ['/bin/sh', '-c', 'echo ready; sleep 1000'], {
        env: { SECRET: secret },
      });
      await lineOf(child, /ready/);
      const holders = processIds().filter((pid) => argumentsOf(pid).some((word) => word.includes(secret)));
      child.kill();
      await child.exited;
      assert.deepEqual(holders, []);
    });

    test('a server ends the processes that an earlier server with the same data folder left, but not those of a server with another data folder', async () => {
      await using mine = await dataFolder();
      await using others = await dataFolder();
      const sleeper = async (data: string) => {
        const child = startIn(await sandboxIn(data, mode), ['/bin/sh', '-c', 'echo ready; sleep 1000']);
        await lineOf(child, /ready/);
        return child;
      };
      const [left, other] = [await sleeper(mine.path), await sleeper(others.path)];
      let hasOtherEnded = false;
      void other.exited.then(() => {
        hasOtherEnded = true;
      });
      // A restarted server knows only its data folder.
      await endLeftovers(mine.path);
      assert.equal((await left.exited).signal, 'SIGKILL');
      assert.equal(hasOtherEnded, false);
      other.kill();
      await other.exited;
    });
  });
}

test('if the server gives a folder to a tool, the tool owns the folder and the links in it, but not the targets of the links', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const [folder, outside] = [join(data.path, 'mine'), join(data.path, 'outside')];
  await mkdir(folder);
  await writeFile(outside, 'the server’s');
  await symlink(outside, join(folder, 'link'));
  await sandbox.own([folder], 7);
  if (process.getuid?.() !== 0) return;
  assert.equal((await lstat(folder)).uid, 700_007);
  assert.equal((await lstat(join(folder, 'link'))).uid, 700_007);
  assert.equal((await lstat(outside)).uid, 0);
});
