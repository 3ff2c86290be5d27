import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { logOf, releaseOf, rollOut, until } from '../../contract-steps.ts';
import { Keyboard, oneOff, startOneOff } from '../../one-off-steps.ts';
import { worker } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

/** A tool that tries to change the files that the server makes for `exec`, and prints which attempts worked. */
const meddler = `
import os, re, time
def tried(what, act):
    try: act(); print('managed to', what)
    except OSError as error: print('could not', what, error.strerror)
folder = '/run/exec'
tried('make', lambda: open(folder + '/new', 'w'))
tried('replace', lambda: os.rename(folder + '/requests', folder + '/old'))
tried('link', lambda: os.symlink('/etc/passwd', folder + '/link'))
tried('remove', lambda: os.unlink(folder + '/requests'))
tried('chmod', lambda: os.chmod(folder + '/requests', 0o666))
tried('chmod the folder', lambda: os.chmod(folder, 0o777))
def commands():
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try: yield from re.findall(r'/run/exec/[-0-9a-f]{36}', open('/proc/' + pid + '/cmdline').read())
        except OSError: pass
seen = set()
print('begun')
while True:
    for inside in set(commands()) - seen:
        seen.add(inside)
        tried('rewrite', lambda: open(inside + '/command', 'a').close())
        tried('swap', lambda: os.rename(inside + '/command', inside + '/other'))
        tried('swap a pipe', lambda: os.rename(inside + '/out', inside + '/other'))
        tried('open a pipe to others', lambda: os.chmod(inside + '/out', 0o666))
        print('judged')
    time.sleep(0.01)
`;

/** Answers the server in the place of the agent, with endless and wrong words, and keeps all pipes open. */
const impostor = `
import os, signal, threading, time
folder = '/run/exec'
def endless(path, data):
    with open(path, 'wb', buffering=0) as pipe:
        try:
            while True: pipe.write(data)
        except OSError: pass
held = []
# The agent would answer first.
time.sleep(0.3)
for pid in map(int, filter(str.isdigit, os.listdir('/proc'))):
    if pid not in (1, os.getpid()) and '/requests' in str([os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]):
        os.kill(pid, signal.SIGKILL)
requests = os.open(folder + '/requests', os.O_RDWR)
print('begun')
while True:
    inside = folder + '/' + os.read(requests, 37).decode().strip()
    for pipe in ('in', 'out', 'err', 'size', 'status'):
        held.append(os.open(inside + '/' + pipe, os.O_RDWR))
    if len(held) == 5: os.write(held[-1], b'opened\\n'); print('told')
    else: threading.Thread(target=endless, args=(inside + '/status', b'9' * 65536), daemon=True).start()
`;

/** Ends every other process that it can see, such as the agent. */
const killer = `
import os, signal, time
time.sleep(0.5)
try: os.kill(-1, signal.SIGKILL)
except OSError as error: print(error)
print('begun')
time.sleep(1000)
`;

/** Reads requests that the server sends to the agent, before the agent does. */
const thief = `
import os
pipe = os.open('/run/exec/requests', os.O_RDWR)
print('begun')
while True: os.read(pipe, 1)
`;

describe('commands beside hostile processes', { concurrency: 4 }, () => {
  let bench: LocalBench;
  before(async () => {
    bench = await localBench({ mode: 'isolated', graceMs: 500 });
  });
  after(() => bench.close());

  async function hostile(name: string, source: string) {
    const artifact = await bench.artifact({ 'worker.py': source }, [worker()]);
    const release = releaseOf(name as ToolName, 1, artifact, { KEY: 'v' });
    await rollOut(bench.runtime, release);
    const said = async () => (await logOf(bench.runtime, release.tool, 'worker')).map(({ text }) => text);
    await until(async () => (await said()).includes('begun'), 'the tool has begun');
    const run = (command: readonly string[], steps = {}) =>
      oneOff(bench.runtime, release, command, { beside: 'worker.1', ...steps });
    return { release, said, run };
  }

  test('a tool cannot change the files that the server makes for `exec`, and the command of `exec` sees no other files of the server', async () => {
    const { run, said } = await hostile('meddler', meddler);
    assert.equal((await run(['sh', '-c', 'echo still right; sleep 0.5'])).out, 'still right\n');
    await until(
      async () => (await said()).some((line) => line.startsWith('judged')),
      'the tool has tried all',
    );
    const lines = await said();
    assert.deepEqual(
      lines.filter((line) => line.startsWith('managed')),
      [],
    );
    assert.equal(lines.filter((line) => /Read-only file system/.test(line)).length, 9, lines.join('\n'));
    const { out } = await run(['ls', '-l', '/run', '/proc/self/fd']);
    assert.doesNotMatch(out, new RegExp(`one-off|${bench.data}`));
    assert.deepEqual(
      out
        .match(/\d+ -> .*/g)
        ?.map((line) => line.replace(/[0-9a-f-]{36}/, 'ID'))
        .slice(0, 3),
      ['0 -> /run/exec/ID/in', '1 -> /run/exec/ID/out', '2 -> /run/exec/ID/err'],
    );
  });

  test('if a tool answers the server in place of the program that starts commands of `exec`, only commands of this tool fail', async () => {
    const { run, release, said } = await hostile('impostor', impostor);
    // The impostor reports that the first command has begun, and then nothing more. For the second command, it
    // sends endless nonsense.
    const gone = new AbortController();
    const first = startOneOff(bench.runtime, release, ['true'], {
      ...{ beside: 'worker.1', signal: gone.signal, input: new Keyboard().keys },
    });
    await until(async () => (await said()).includes('told'), 'the first command seems to run');
    const second = await run(['true']).catch((error: Error & { code: string }) => error.code);
    assert.equal(second, 'EXEC_FAILED');
    gone.abort();
    assert.equal((await first.end).status, 137);
    const other = await hostile('neighbour', `print('begun')\nimport time\ntime.sleep(1000)`);
    assert.equal((await other.run(['echo', 'fine'])).out, 'fine\n');
  });

  test('if a tool has ended the program that starts commands of `exec`, `exec` says so, and the files for the command are removed', async () => {
    const { run, release } = await hostile('killer', killer);
    const folder = join(bench.data, 'run');
    const before = (await readdir('/proc/self/fd')).length;
    await assert.rejects(run(['true']), {
      code: 'EXEC_FAILED',
      message: /worker\.1 of killer does not take the command/,
    });
    assert.equal(
      (await bench.runtime.status(release.tool)).some(({ name }) => name === 'run.1'),
      false,
    );
    // Folders of commands of other tests, which run at the same time, disappear when these commands end.
    await until(async () => {
      const runs = await readdir(folder);
      const left = await Promise.all(runs.map((name) => readdir(join(folder, name, 'exec')).catch(() => [])));
      return left.flat().every((name) => name === 'requests');
    }, 'no folder of a command is left');
    await until(
      async () => (await readdir('/proc/self/fd')).length <= before + 8,
      'no descriptor is left open',
    );
  });

  test('if a tool steals the requests of `exec`, the command either fails with EXEC_FAILED or runs to its end', async () => {
    const { run } = await hostile('thief', thief);
    const outcome = await run(['true']).catch((error: Error & { code: string }) => error.code);
    assert.ok(
      outcome === 'EXEC_FAILED' || (typeof outcome === 'object' && outcome.status === 0),
      String(outcome),
    );
  });

  test('a command of `exec` that takes more memory than its process may use fails', async () => {
    const { run } = await hostile('hungry', `print('begun')\nimport time\ntime.sleep(1000)`);
    const script = 'held = []\nwhile True: held.append(bytearray(4 * 1024 * 1024))';
    const outcome = await run(['python3', '-c', script]).catch(
      (error: Error & { code: string }) => error.code,
    );
    assert.ok(
      outcome === 'PROCESS_ENDED' || (typeof outcome === 'object' && outcome.status !== 0),
      JSON.stringify(outcome),
    );
  });
});
