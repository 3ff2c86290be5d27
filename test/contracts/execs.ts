import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../src/core/names.ts';
import type { Release } from '../../src/core/types.ts';
import type { Runtime } from '../../src/run/runtime.ts';
import { releaseOf, rollOut, until } from '../run/contract-steps.ts';
import { Keyboard, oneOff, startOneOff, useTerminal } from '../run/one-off-steps.ts';
import { web, webTool, worker } from '../run/tool-sources.ts';
import type { RuntimeBench } from './runtime.ts';

/**
 * A Python program that collects what a process knows about itself. Its first run writes this to the file `facts` in
 * the folder for temporary files, and then sleeps. A later run prints it.
 */
const tellingWorker = `
import os, time
def lines(path): return open(path).read()
wanted = ('Uid', 'Gid', 'Groups', 'NoNewPrivs', 'Seccomp', 'CapEff', 'CapPrm', 'CapBnd')
status = [line for line in lines('/proc/self/status').splitlines() if line.split(':')[0] in wanted]
spaces = [name + os.readlink('/proc/self/ns/' + name) for name in sorted(os.listdir('/proc/self/ns'))]
facts = [*status, *spaces, lines('/proc/self/limits'), lines('/proc/self/cgroup')]
hidden = ('_', 'SHLVL', 'OLDPWD', 'TOOLFORGE_PUSH_EXEC', 'TERM', 'SHELL')
facts += sorted(k + '=' + v for k, v in os.environ.items() if k not in hidden)
place = os.environ.get('TMPDIR', '/tmp') + '/facts'
text = '\\n'.join([*facts, os.getcwd()])
if os.path.exists(place): print(text)
else:
    with open(place + '.pid', 'w') as file: print(os.getpid(), file=file)
    with open(place + '.new', 'w') as file: print(text, file=file)
    os.rename(place + '.new', place)
    time.sleep(1000)
`;

/** For a shell: the folder for temporary files of a process. */
const TEMPORARY = '$(printenv TMPDIR || echo /tmp)';

/** The promises of every Runtime about commands beside a process. The tested runtime allows two at once. */
export function execContract(name: string, makeBench: () => Promise<RuntimeBench>): void {
  describe(`exec: ${name}`, { concurrency: 1 }, () => {
    let bench: RuntimeBench;
    let runtime: Runtime;
    const tool = 'beside' as ToolName;
    let release: Release;
    before(async () => {
      bench = await makeBench();
      runtime = bench.runtime;
      const files = { 'web.py': webTool('one'), 'worker.py': tellingWorker };
      const artifact = await bench.artifact(files, [web(), worker()]);
      release = releaseOf(tool, 7, artifact, { KEY: 'value 1' });
      await rollOut(runtime, release);
    });
    after(() => bench.close());
    const exec = (beside: string, command: readonly string[], steps = {}) =>
      oneOff(runtime, release, command, { beside, ...steps });

    test('a command of exec has the user, rights, namespaces, limits, control group, environment and folder of its process', async () => {
      const facts = await exec('worker.1', ['sh', '-c', `cat "${TEMPORARY}/facts"`]);
      const own = await exec('worker.1', ['python3', '-u', 'worker.py']);
      assert.match(facts.out, /KEY=value 1/);
      assert.equal(own.out, facts.out, own.err);
      // The process’s oom_score_adj changes when it goes live, so the command must copy the present value.
      const scores = `read -r pid <"${TEMPORARY}/facts.pid"; cat "/proc/$pid/oom_score_adj" /proc/self/oom_score_adj`;
      const [score, ownScore] = (await exec('worker.1', ['sh', '-c', scores])).out.split('\n');
      assert.equal(ownScore, score);
    });

    test('a command of exec reaches the port of its process at 127.0.0.1', async () => {
      const script =
        'import os, urllib.request as r; print(r.urlopen("http://127.0.0.1:" + os.environ["PORT"]).read())';
      const { out, err, status } = await exec('web.1', ['python3', '-c', script]);
      assert.deepEqual([out, status], ["b'one'\n", 0], err);
    });

    test('the client of a command of exec gets standard output, standard error and the exit status, and the end of its input is passed on', async () => {
      const script = 'echo first; cat; echo wrong >&2; exit 7';
      const { status, why, out, err } = await exec('web.1', ['sh', '-c', script], { input: 'typed\n' });
      assert.deepEqual([status, why, out, err], [7, null, 'first\ntyped\n', 'wrong\n']);
      assert.equal((await exec('web.1', ['sh', '-c', 'kill -9 $$'])).status, 137);
      assert.equal((await exec('web.1', ['no-such-program'])).status, 127);
    });

    test('threat 16: the words of a command beside a process are passed unchanged, with any characters', async () => {
      const words = [
        'a b',
        '',
        '$(id)',
        '$KEY',
        '`id`',
        ';',
        '*',
        "it's",
        '"',
        '\\',
        '-x',
        '$$',
        'é\t\n',
        'x'.repeat(9000),
      ];
      const print = 'import sys; print(ascii(sys.argv[1:]))';
      const { out } = await exec('web.1', ['python3', '-c', print, ...words]);
      const expected = await exec('web.1', ['python3', '-c', `print(ascii(${JSON.stringify(words)}))`]);
      assert.equal(out, expected.out);
      const keyboard = new Keyboard();
      const shown = await exec('web.1', ['python3', '-c', print, ...words], {
        terminal: keyboard,
        input: keyboard.keys,
      });
      assert.equal(shown.out, expected.out.replaceAll('\n', '\r\n'));
    });

    test('10 MB of output of a command of exec arrive, even if the command does not read its input', async () => {
      const running = startOneOff(runtime, release, ['head', '-c', '10000000', '/dev/zero'], {
        beside: 'web.1',
        input: 'unread\n'.repeat(100_000),
      });
      assert.equal((await running.end).status, 0);
      assert.equal(running.bytes, 10_000_000);
    });

    test('the terminal of a command beside a process has the client’s size and type, and passes on Ctrl-C and new sizes', async () => {
      await useTerminal(runtime, release, 'worker.1');
    });

    test('at a terminal, Ctrl-C ends a command beside a process', async () => {
      const keyboard = new Keyboard();
      const running = startOneOff(runtime, release, ['sh', '-c', 'echo asleep; exec sleep 100'], {
        beside: 'worker.1',
        terminal: keyboard,
        input: keyboard.keys,
      });
      await running.shows(/asleep/);
      keyboard.press('\u0003');
      assert.equal((await running.end).status, 130);
    });

    for (const isTerminal of [false, true]) {
      test(`if the client of a command of exec ${isTerminal ? 'in' : 'without'} a terminal disconnects, the command and the processes that it started end, even if they ignore signals`, async () => {
        const keyboard = new Keyboard();
        const gone = new AbortController();
        const seconds = isTerminal ? 7101 : 7102;
        const script = `trap '' TERM HUP INT; (setsid sleep ${seconds} &); echo up; sleep ${seconds}`;
        const running = startOneOff(runtime, release, ['bash', '-c', script], {
          ...{ beside: 'worker.1', signal: gone.signal, input: keyboard.keys },
          ...(isTerminal ? { terminal: keyboard } : {}),
        });
        await running.shows(/up/);
        const listed = (await runtime.status(tool)).find((status) => status.name === 'run.1');
        assert.deepEqual(
          [listed?.command, listed?.detail, listed?.state],
          ['bash …', 'beside worker.1', 'up'],
        );
        gone.abort();
        assert.ok((await running.end).status >= 129);
        assert.equal(
          (await runtime.status(tool)).some((status) => status.name === 'run.1'),
          false,
        );
        const left = `cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c "sleep ${seconds}"`;
        await until(
          async () => (await exec('worker.1', ['sh', '-c', left])).out === '1\n',
          'only grep itself is left',
        );
      });
    }

    test('a command of exec does not wait for a process that it leaves in the background, and that process continues', async () => {
      const begun = performance.now();
      const { status } = await exec('worker.1', ['sh', '-c', `sleep 7103 & echo $! >"${TEMPORARY}/left"`]);
      assert.equal(status, 0);
      assert.ok(performance.now() - begun < 20_000);
      const look = await exec('worker.1', ['sh', '-c', `kill $(cat "${TEMPORARY}/left") && echo was there`]);
      assert.equal(look.out, 'was there\n', look.err);
    });

    test('concurrent_one_offs limits commands of `run` and `exec` together', async () => {
      const gone = new AbortController();
      const start = () =>
        startOneOff(runtime, release, ['sh', '-c', 'echo up; exec sleep 1000'], {
          ...{ beside: 'web.1', signal: gone.signal, input: new Keyboard().keys },
        });
      const two = [start(), start()];
      await Promise.all(two.map((one) => one.shows(/up/)));
      await assert.rejects(oneOff(runtime, release, ['true']), { code: 'TOO_MANY_ONE_OFFS' });
      await assert.rejects(start().end, { code: 'TOO_MANY_ONE_OFFS' });
      gone.abort();
      await Promise.all(two.map(({ end }) => end));
    });

    test('`exec` is refused beside a process that does not exist, and for a tool that does not run', async () => {
      for (const beside of ['web.2', 'web', 'run.1', '../web.1'])
        await assert.rejects(exec(beside, ['true']), { code: 'NOT_RUNNING' });
      const stopped = { ...release, tool: 'stopped' as ToolName };
      await assert.rejects(oneOff(runtime, stopped, ['true'], { beside: 'web.1' }), { code: 'NOT_RUNNING' });
    });

    test('if a process ends, a command of exec beside this process ends too, and the client of the command learns why', async () => {
      const ending = startOneOff(runtime, release, ['sh', '-c', 'echo up; sleep 1000'], {
        beside: 'web.1',
        input: new Keyboard().keys,
      });
      await ending.shows(/up/);
      await bench.request(tool, '/exit').catch(() => null);
      await assert.rejects(ending.end, {
        code: 'PROCESS_ENDED',
        message: 'the process web.1 of beside ended, and the command ended with it',
      });
      await until(
        async () => (await exec('web.1', ['true']).catch(() => null))?.status === 0,
        'web.1 runs again',
        60,
      );
    });
  });
}
