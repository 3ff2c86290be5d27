import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { DeployError } from '../../src/core/errors.ts';
import type { ToolName } from '../../src/core/names.ts';
import type { Artifact, Release } from '../../src/core/types.ts';
import type { Runtime } from '../../src/run/runtime.ts';
import { logOf, releaseOf, rollOut, until } from '../run/contract-steps.ts';
import { Keyboard, oneOff, startOneOff, useTerminal } from '../run/one-off-steps.ts';
import { web, webTool } from '../run/tool-sources.ts';
import type { RuntimeBench } from './runtime.ts';

/** The promises of every Runtime about one-offs. The tested runtime allows two one-offs at once. */
export function oneOffContract(name: string, makeBench: () => Promise<RuntimeBench>): void {
  describe(`one-offs: ${name}`, { concurrency: 1 }, () => {
    let bench: RuntimeBench;
    let runtime: Runtime;
    let artifact: Artifact;
    const tool = 'oneoff' as ToolName;
    let release: Release;
    before(async () => {
      bench = await makeBench();
      runtime = bench.runtime;
      const line = { type: 'task', command: ['bash', '-c', 'echo "task of $KEY"'], isDefault: false };
      artifact = await bench.artifact({ 'web.py': webTool('one'), 'note.txt': 'from the release\n' }, [
        web(),
        line,
      ]);
      release = releaseOf(tool, 7, artifact, { KEY: 'value 1' });
    });
    after(() => bench.close());
    const run = (command: readonly string[], steps = {}) => oneOff(runtime, release, command, steps);

    test('a one-off has the files and config vars of its release, and its client gets standard output, standard error and the exit status', async () => {
      const script = 'cat note.txt; echo "$KEY"; echo wrong >&2; exit 7';
      const { status, why, out, err } = await run(['sh', '-c', script]);
      assert.deepEqual([status, why], [7, null]);
      assert.equal(out, 'from the release\nvalue 1\n');
      assert.equal(err, 'wrong\n');
    });

    test('a one-off’s first output is not lost, and the end of its input is passed on', async () => {
      const { out, status } = await run(['sh', '-c', 'echo first; cat; echo last'], { input: 'typed\n' });
      assert.equal(out, 'first\ntyped\nlast\n');
      assert.equal(status, 0);
    });

    test('threat 16: the words of a one-off’s command are passed unchanged, with any characters', async () => {
      const words = [
        'a b',
        '',
        '$(id)',
        '$(KEY)',
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
      ];
      const { out } = await run(['python3', '-c', 'import sys; print(ascii(sys.argv[1:]))', ...words]);
      const expected = await run(['python3', '-c', `print(ascii(${JSON.stringify(words)}))`]);
      assert.equal(out, expected.out);
      const keyboard = new Keyboard();
      const shown = await run(['python3', '-c', 'import sys; print(ascii(sys.argv[1:]))', ...words], {
        terminal: keyboard,
        input: keyboard.keys,
      });
      assert.equal(shown.out, expected.out.replaceAll('\n', '\r\n'));
    });

    test('if the first word of a one-off is a process type, the command of the type runs with the other words as arguments', async () => {
      assert.equal((await run(['task'])).out, 'task of value 1\n');
      assert.equal((await run(['task', 'more', '$KEY'])).out, 'task of value 1 more $KEY\n');
    });

    for (const { name, command, status } of [
      { name: 'is ended by a signal', command: ['sh', '-c', 'kill -9 $$'], status: 137 },
      { name: 'runs an unknown program', command: ['no-such-program'], status: 127 },
    ]) {
      test(`a one-off that ${name} has the exit status that a shell reports`, async () => {
        assert.equal((await run(command)).status, status);
      });
    }

    test('a one-off reads 10 MB of input, and 10 MB of its output arrive, unchanged', async () => {
      const piece = Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * 7 + (at >> 8)) & 255));
      async function* input() {
        for (let count = 0; count < 100; count += 1) yield piece;
      }
      const running = startOneOff(runtime, release, ['cat'], { input: input() });
      assert.equal((await running.end).status, 0);
      const expected = createHash('sha256');
      for (let count = 0; count < 100; count += 1) expected.update(piece);
      assert.equal(running.out.length, 10_000_000);
      assert.equal(createHash('sha256').update(running.out).digest('hex'), expected.digest('hex'));
    });

    test('if a one-off’s output cannot be sent to the client, the one-off fails with the same error', async () => {
      const running = startOneOff(runtime, release, ['sh', '-c', 'echo said; sleep 1'], {
        output: () => Promise.reject(new Error('the client takes nothing')),
      });
      await assert.rejects(running.end, /the client takes nothing/);
    });

    test('a slow client makes a one-off wait, and a one-off that does not read makes its client wait', async () => {
      const open = Promise.withResolvers<void>();
      const gone = new AbortController();
      let given = 0;
      async function* input() {
        for (; given < 500_000_000; given += 65_536) yield Buffer.alloc(65_536);
      }
      const script = 'head -c 50000000 /dev/zero; echo done >&2; exec 0<&-';
      const running = startOneOff(runtime, release, ['sh', '-c', script], {
        input: input(),
        output: () => open.promise,
        signal: gone.signal,
      });
      try {
        await running.shows(/\0/);
        // Each socket on the way buffers some megabytes, as the system decides.
        let before = -1;
        await until(async () => {
          const isHeldBack = given === before;
          before = given;
          await wait(1000);
          return isHeldBack;
        }, 'the input to be held back');
        assert.ok(running.bytes < 4_000_000, `${running.bytes} bytes of output`);
        assert.ok(given < 100_000_000, `${given} bytes of input`);
        assert.equal(running.err, '');
        open.resolve();
        assert.equal((await running.end).status, 0);
        assert.equal(running.bytes, 50_000_000);
        assert.equal(running.err, 'done\n');
      } finally {
        open.resolve();
        gone.abort();
      }
    });

    test('the terminal of a one-off has the client’s size and type, passes on Ctrl-C and resizes, and joins standard output and standard error', async () => {
      const running = await useTerminal(runtime, release);
      assert.equal(running.err, '');
    });

    test('if the client’s terminal is resized while a one-off starts, the one-off sees the new size', async () => {
      const keyboard = new Keyboard();
      const script = 'for i in {1..200}; do [ "$(stty size)" = "11 55" ] && exit 4; sleep 0.1; done';
      const running = startOneOff(runtime, release, ['bash', '-c', script], {
        terminal: keyboard,
        input: keyboard.keys,
      });
      keyboard.resize(55, 11);
      assert.equal((await running.end).status, 4);
    });

    test('at a terminal, Ctrl-C ends a one-off without a signal handler, and Ctrl-D ends a one-off that reads its input', async () => {
      for (const { command, shown, key, status } of [
        { command: ['sh', '-c', 'echo asleep; exec sleep 100'], shown: /asleep/, key: '\u0003', status: 130 },
        { command: ['sh', '-c', 'echo reading; exec cat'], shown: /reading/, key: '\u0004', status: 0 },
      ]) {
        const keyboard = new Keyboard();
        const running = startOneOff(runtime, release, command, { terminal: keyboard, input: keyboard.keys });
        await running.shows(shown);
        keyboard.press(key);
        assert.equal((await running.end).status, status);
      }
    });

    for (const { name, terminal } of [
      { name: 'without a terminal', terminal: false },
      { name: 'in a terminal', terminal: true },
    ]) {
      test(`if the client of a one-off ${name} disconnects, the one-off ends, and the status no longer lists the one-off`, async () => {
        const keyboard = new Keyboard();
        const gone = new AbortController();
        const command = terminal ? ['bash', '--norc', '-i'] : ['sh', '-c', 'echo up; exec sleep 1000'];
        const running = startOneOff(runtime, release, command, {
          signal: gone.signal,
          input: keyboard.keys,
          ...(terminal ? { terminal: keyboard } : {}),
        });
        if (terminal) keyboard.press('echo u""p\r');
        await running.shows(/up/);
        assert.deepEqual(
          (await runtime.status(tool)).map(({ name, version, state }) => [name, version, state]),
          [['run.1', 7, 'up']],
        );
        gone.abort();
        const { status } = await running.end;
        assert.ok(status >= 129, `${status}`);
        assert.deepEqual(await runtime.status(tool), []);
      });
    }

    test('concurrent_one_offs limits how many one-offs run at once; `ps` numbers them and hides their arguments', async () => {
      const gone = new AbortController();
      const start = () =>
        startOneOff(runtime, release, ['sh', '-c', 'echo up; exec sleep 1000'], {
          signal: gone.signal,
          input: new Keyboard().keys,
        });
      const two = [start(), start()];
      await Promise.all(two.map((one) => one.shows(/up/)));
      assert.deepEqual(
        (await runtime.status(tool)).map(({ name, command }) => [name, command]),
        [
          ['run.1', 'sh …'],
          ['run.2', 'sh …'],
        ],
      );
      assert.deepEqual([...runtime.artifactsInUse(tool)], [artifact.id]);
      await assert.rejects(start().end, {
        ...{ code: 'TOO_MANY_ONE_OFFS', hint: /`ps .*` lists them\..* `run --end NAME .*` if .* --detach/ },
      });
      gone.abort();
      await Promise.all(two.map(({ end }) => end));
      assert.deepEqual([...runtime.artifactsInUse(tool)], []);
    });

    test('a detached one-off writes to the tool’s log, is listed, counts against the limit, and ends at run --end or a stop of the tool', async () => {
      const text = async (process: string) =>
        (await logOf(runtime, tool, process)).map((line) => line.text).join('\n');
      const detach = (script: string) =>
        runtime.runDetached({ release, toolNumber: 1, command: ['sh', '-c', script] });
      const name = await detach('echo out of $KEY; echo wrong >&2; exit 7');
      assert.equal(name, 'run.1');
      await until(async () => /run\.1 ended with status 7 after/.test(await text('push')), 'the end', 60);
      assert.deepEqual((await text(name)).split('\n').sort(), ['out of value 1', 'wrong']);
      assert.match(await text('push'), /run\.1 started: sh …/);
      assert.equal(runtime.endDetached(tool, name), false);
      const names = [await detach('echo up; sleep 1000'), await detach('echo up; sleep 1000')];
      assert.deepEqual(names, ['run.1', 'run.2']);
      await assert.rejects(detach('true'), { code: 'TOO_MANY_ONE_OFFS' });
      await until(async () => (await text('run.2')).endsWith('up'), 'both run', 60);
      const listed = (await runtime.status(tool)).map((status) => status.name);
      assert.deepEqual(listed.filter((one) => one.startsWith('run.')).sort(), ['run.1', 'run.2']);
      assert.equal(runtime.endDetached(tool, 'run.1'), true);
      await runtime.stop(tool);
      const left = async () =>
        (await runtime.status(tool)).filter((status) => status.name.startsWith('run.'));
      await until(async () => (await left()).length === 0, 'both have ended', 60);
    });

    test('threat 8: a detached one-off ends when the person who started it may no longer run commands, and the tool’s log says why', async () => {
      const forbidden = Promise.withResolvers<void>();
      const over = Promise.withResolvers<void>();
      const name = await runtime.runDetached({
        ...{ release, toolNumber: 1, command: ['sh', '-c', 'echo watched; sleep 1000'] },
        untilForbidden: async (ended) => {
          ended.addEventListener('abort', () => over.resolve());
          await forbidden.promise;
        },
      });
      const text = async (process: string) =>
        (await logOf(runtime, tool, process)).map((line) => line.text).join('\n');
      await until(async () => (await text(name)).endsWith('watched'), 'the command runs', 60);
      forbidden.reject(new DeployError('NO_ACCESS', 'alice maintains nothing here', ''));
      await until(
        async () => /run\.1 ended with status \d+: alice maintains nothing here/.test(await text('push')),
        'the end',
        60,
      );
      await over.promise;
    });

    test('a one-off that is cancelled before it starts fails with an AbortError, and the status does not list the one-off', async () => {
      const gone = AbortSignal.abort();
      await assert.rejects(startOneOff(runtime, release, ['true'], { signal: gone }).end, {
        name: 'AbortError',
      });
      assert.deepEqual(await runtime.status(tool), []);
    });

    test('neither a rollout nor a stop of the tool ends a one-off for which a client waits', async () => {
      const other = 'beside' as ToolName;
      const staying = { ...artifact, processes: [web()] };
      await rollOut(runtime, releaseOf(other, 1, staying));
      const keyboard = new Keyboard();
      const running = startOneOff(runtime, releaseOf(other, 1, artifact), ['sh', '-c', 'echo up; cat'], {
        input: keyboard.keys,
      });
      await running.shows(/up/);
      await rollOut(runtime, releaseOf(other, 2, staying));
      await runtime.stop(other);
      await until(async () => (await runtime.status(other)).length === 1, 'the processes to be gone');
      keyboard.press('still here\n');
      keyboard.keys.end();
      assert.equal((await running.end).status, 0);
      assert.equal(running.text, 'up\nstill here\n');
    });

    test('a one-off that needs too much memory fails, and its client learns that memory is the reason', async () => {
      const script = 'held = []\nwhile True: held.append(bytearray(4 * 1024 * 1024))';
      const { status, why, err } = await run(['python3', '-c', script]);
      assert.notEqual(status, 0);
      assert.ok(why?.includes('256 MiB') || /MemoryError/.test(err), `${status} ${why} ${err}`);
    });

    test('a stop of the server ends one-offs, and no other one-off starts', async () => {
      const running = startOneOff(runtime, release, ['sh', '-c', 'echo up; exec sleep 1000'], {
        input: new Keyboard().keys,
      });
      await running.shows(/up/);
      await runtime.endOneOffs();
      assert.match((await running.end).why ?? '', /server is being stopped/);
      await assert.rejects(startOneOff(runtime, release, ['true']).end, { code: 'SHUTTING_DOWN' });
    });
  });
}
