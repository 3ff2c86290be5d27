import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import type { Release } from '../../../../src/core/types.ts';
import { releaseOf } from '../../contract-steps.ts';
import { Keyboard, oneOff, startOneOff } from '../../one-off-steps.ts';
import { web, webTool } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

const isRoot = process.getuid?.() === 0;

describe('one-offs on this machine', { concurrency: 1 }, () => {
  let bench: LocalBench;
  let release: Release;
  before(async () => {
    process.env['SECRET_OF_THE_SERVER'] = 'hunter2';
    bench = await localBench({ mode: 'isolated', oneOffMs: 1500, graceMs: 500 });
    const artifact = await bench.artifact({ 'web.py': webTool('one') }, [web()]);
    release = releaseOf('bot' as ToolName, 1, artifact, { KEY: 'v' });
  });
  after(() => bench.close());

  test('promise 4: a one-off sees its own variables and pipes, and nothing of the server or of another tool', async () => {
    await writeFile(join(bench.data, 'artifacts/secret'), 'of another tool');
    const script = [
      'env; ls /run /run/one-off',
      `cat ${bench.data}/artifacts/secret ${bench.data}/run/*/* 2>&1`,
      'touch /run/one-off/new; rm -f /run/one-off/in; chmod 666 /run/one-off/out && echo changed',
      'test ! -e /run/one-off/new && test -p /run/one-off/in && echo whole',
      'cat /proc/*/environ | tr "\\0" "\\n"; ls /proc | grep -c "^[0-9]"',
    ].join('\n');
    const { out, err } = await oneOff(bench.runtime, release, ['sh', '-c', script]);
    assert.match(out, /^KEY=v$/m);
    assert.doesNotMatch(out, /SECRET_OF_THE_SERVER|TOOLFORGE_PUSH_|of another tool/);
    assert.match(out, /^\/run:\none-off\n/m);
    assert.match(out, /^whole$/m);
    assert.doesNotMatch(out, /^changed$/m, err);
    assert.ok(Number(out.trim().split('\n').at(-1)) < 12, 'processes of the machine are seen');
  });

  test('another tool cannot open the pipes of a one-off', { skip: !isRoot }, async () => {
    const running = startOneOff(bench.runtime, release, ['cat'], { input: new Keyboard().keys });
    const other = { ...release, tool: 'other' as ToolName };
    const folder = join(bench.data, 'run');
    const [pipes] = await waitForPipes(folder);
    const { err, status } = await oneOff(bench.runtime, other, ['cat', `${folder}/${pipes}/out`], {
      toolNumber: 2,
    });
    assert.equal(status, 1);
    assert.match(err, /No such file|Permission denied/);
    await running.end;
  });

  test('threat 18: a one-off has its own terminal, and input that it injects there reaches only itself', async () => {
    const keyboard = new Keyboard();
    const script = [
      'import fcntl, os, termios',
      'print(os.ttyname(0), os.getsid(0) == os.getpid(), sorted(os.listdir("/dev/pts")))',
      'try:',
      '    for byte in b"typed\\n": fcntl.ioctl(0, termios.TIOCSTI, bytes([byte]))',
      '    print("read", input())',
      'except OSError: print("refused")',
      'for name in ("/dev/console", "/dev/tty1", "/dev/pts/1"):',
      '    try: open(name, "w"); print("opened", name)',
      '    except OSError: pass',
    ].join('\n');
    const { out } = await oneOff(bench.runtime, release, ['python3', '-c', script], {
      terminal: keyboard,
      input: keyboard.keys,
    });
    assert.match(out, /^\/dev\/pts\/0 True \['0', 'ptmx'\]\r\n/);
    assert.match(out, /refused|read typed/);
    assert.doesNotMatch(out, /opened/);
  });

  for (const { name, command } of [
    { name: 'one that ends on SIGTERM', command: ['sleep', '100'] },
    {
      name: 'one that ignores SIGTERM',
      command: ['python3', '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(100)'],
    },
  ]) {
    test(`a one-off that takes too long is ended, and its client sees the reason: ${name}`, async () => {
      const { status, why } = await oneOff(bench.runtime, release, command, { input: new Keyboard().keys });
      assert.match(why ?? '', /took longer than 1.5 s and was ended/);
      assert.ok([137, 143].includes(status), `${status}`);
    });
  }

  test('if the client of a one-off command disconnects, all processes of the command end, even a process in another session that ignores signals', async () => {
    const keyboard = new Keyboard();
    const gone = new AbortController();
    const script = `trap '' HUP TERM INT; (trap '' HUP TERM INT; setsid sleep 4711 & ) ; echo up; while :; do sleep 1; done`;
    const running = startOneOff(bench.runtime, release, ['bash', '-c', script], {
      terminal: keyboard,
      input: keyboard.keys,
      signal: gone.signal,
    });
    await running.shows(/up/);
    gone.abort();
    await running.end;
    const commands = await Promise.all(
      (await readdir('/proc'))
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
    );
    assert.deepEqual(
      commands.filter((line) => line.startsWith('sleep\x004711')),
      [],
    );
  });

  test('one-off commands leave no files in the run folder and no lines in the tool’s log', async () => {
    assert.deepEqual(await readdir(join(bench.data, 'run')), []);
    const query = { process: null, lines: 10, follow: false, signal: new AbortController().signal };
    assert.deepEqual((await Array.fromAsync(bench.runtime.logs('bot' as ToolName, query))).flat(), []);
  });
});

async function waitForPipes(folder: string): Promise<string[]> {
  const end = performance.now() + 5000;
  while (performance.now() < end) {
    const names = await readdir(folder);
    for (const name of names) {
      const inside = await readdir(join(folder, name)).catch((): string[] => []);
      if (inside.includes('size')) return [name];
    }
  }
  throw new Error('no pipes');
}
