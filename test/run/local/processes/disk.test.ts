import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ToolName } from '../../../../src/core/names.ts';
import { noOverlay } from '../../../support/overlay.ts';
import { failingRollOut, releaseOf, rollOut, textOf, until } from '../../contract-steps.ts';
import { oneOff } from '../../one-off-steps.ts';
import { web, worker } from '../../tool-sources.ts';
import { type LocalBench, localBench } from '../local-bench.ts';

const MIB = 1024 * 1024;
/** A program that writes a thousand files, each far below the disk limit. */
const filling = `
import os, time
print('writing', flush=True)
for number in range(1000):
    with open(f'{os.environ["TMPDIR"]}/{number}', 'wb') as f: f.write(bytes(${MIB}))
    time.sleep(0.01)
time.sleep(600)
`;

/** Ways to hold deleted files: a Python expression that holds the file `f`, and a call to make before all files. */
const HIDING = {
  open: ['os.dup(f.fileno())', ''],
  mapped: ['mmap.mmap(f.fileno(), 0)', ''],
  'open in a thread that would have descriptors of its own': [
    'os.dup(f.fileno())',
    'libc.syscall(436, 1 << 20, 1 << 20, 2)',
  ],
  // If the first thread of a process has ended, /proc shows its files and mounts only below the id of another thread.
  'open in a process whose first thread has ended': ['os.dup(f.fileno())', ''],
} as const;
const hiding = (how: keyof typeof HIDING) => `
import ctypes, mmap, os, threading, time
libc = ctypes.CDLL(None)
held = []
def fill():
    ${HIDING[how][1]}
    for number in range(300):
        path = f'{os.environ["TMPDIR"]}/{number}'
        with open(path, 'w+b') as f:
            os.unlink(path)
            f.write(bytes(${MIB}))
            f.flush()
            held.append(${HIDING[how][0]})
        time.sleep(0.02)
threading.Thread(target=fill).start()
${how.endsWith('has ended') ? "libc.syscall(60 if os.uname().machine == 'x86_64' else 93, 0)" : ''}
time.sleep(600)
`;

/** A program whose four processes hold many sockets and have deleted their files. Each socket still takes an inode. */
const hidingSockets = `
import os, resource, socket, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held = []
for _ in range(3):
    if os.fork() == 0: break
for number in range(most - 100):
    held.append(socket.socket(socket.AF_UNIX))
    path = os.environ['TMPDIR'] + f'/{os.getpid()}'
    held[-1].bind(path)
    os.unlink(path)
time.sleep(600)
`;

/** A program whose four processes hold many empty files that they have deleted. */
const hidingMany = `
import os, resource, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
for _ in range(3):
    if os.fork() == 0: break
held = [os.open(os.environ['TMPDIR'], os.O_TMPFILE | os.O_RDWR) for number in range(most - 100)]
time.sleep(600)
`;

/** A program that creates empty files as fast as it can. */
const crowding = `
import os, time
folder = os.environ['TMPDIR']
for number in range(1, 500_001):
    if number % 1000 == 1: os.mkdir(f'{folder}/{number}')
    open(f'{folder}/{number - (number - 1) % 1000}/f{number}', 'wb').close()
    if number % 1000 == 0: print(f'{number} made', flush=True)
time.sleep(600)
`;

for (const mode of ['isolated', 'trusted'] as const) {
  describe(`threat 60: the disk use of a tool is limited: ${mode}`, { concurrency: 1 }, () => {
    let bench: LocalBench;
    before(async () => {
      bench = await localBench({ mode, diskBytes: 20 * MIB, diskFiles: 5000 });
    });
    after(() => bench.close());
    const processFolders = async () =>
      (await readdir(join(bench.data, 'run'))).filter((name) => /^[0-9a-f-]{36}$/.test(name));

    test('if a process exceeds its disk limit during its start, the rollout fails with the reason, and its files are deleted', async () => {
      const artifact = await bench.artifact({ 'web.py': filling }, [web()]);
      const { error } = await failingRollOut(bench.runtime, releaseOf('filling' as ToolName, 1, artifact));
      assert.equal(error.message, 'web.1 was ended because it wrote more than 20 MiB to disk');
      assert.match(error.hint, /run_disk/);
      assert.deepEqual(await processFolders(), []);
    });

    test('a running process that exceeds its disk limit is killed and restarted', async () => {
      const tool = 'late' as ToolName;
      const source = `import time\ntime.sleep(1.2)\n${filling}`;
      const artifact = await bench.artifact({ 'worker.py': source }, [worker()]);
      await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
      const said = /worker\.1 was ended because it wrote more than 20 MiB to disk; starting again in/;
      await until(async () => said.test(await textOf(bench.runtime, tool, 'push')), 'the end');
      await until(async () => ((await bench.runtime.status(tool))[0]?.restarts ?? 0) > 0, 'the restart');
      await bench.runtime.stop(tool);
      await until(async () => (await processFolders()).length === 0, 'its files to be gone');
    });

    test('threat 83: a process that makes empty files as fast as it can is killed before it has ten times as many files as allowed', async () => {
      const tool = 'crowd' as ToolName;
      const artifact = await bench.artifact({ 'worker.py': `import time\ntime.sleep(1.2)\n${crowding}` }, [
        worker(),
      ]);
      await rollOut(bench.runtime, releaseOf(tool, 1, artifact));
      const said = /worker\.1 was ended because it made more than 5000 files and folders; starting again in/;
      await until(async () => said.test(await textOf(bench.runtime, tool, 'push')), 'the end');
      const made = Number(
        /(\d+) made\n(?!.*made)/s.exec(`${await textOf(bench.runtime, tool, 'worker')}\n`)?.[1],
      );
      assert.ok(made < 50_000, `${made} files were made`);
      await bench.runtime.stop(tool);
      await until(async () => (await processFolders()).length === 0, 'its files to be gone');
    });

    const ways = Object.keys(HIDING) as (keyof typeof HIDING)[];
    const hidings = [
      ...ways.map((how) => ({ how, where: '/tmp' })),
      ...(['open', 'mapped'] as const).map((how) => ({ how, where: '/workspace' })),
    ];
    // Only root can see mapped files.
    for (const { how, where } of hidings) {
      test(`threat 83: a process that exceeds its disk limit with deleted files that it holds in ${where} is killed: ${how}`, {
        skip:
          mode === 'trusted' ||
          (how === 'mapped' && process.getuid?.() !== 0) ||
          (where === '/workspace' && noOverlay),
      }, async () => {
        const artifact = await bench.artifact({ 'fill.py': hiding(how) }, [web()]);
        const release = releaseOf('hidden' as ToolName, 1, artifact);
        const words = ['env', `TMPDIR=${where}`, 'timeout', '60', 'python3', '-u', 'fill.py'];
        const { status, why } = await oneOff(bench.runtime, release, words);
        assert.equal(status, 137);
        assert.equal(why, 'The command was ended because it wrote more than 20 MiB to disk.');
        assert.deepEqual(await processFolders(), []);
      });
    }

    for (const [what, source, where] of [
      ['files', hidingMany, '/tmp'],
      ['files', hidingMany, '/workspace'],
      ['sockets', hidingSockets, '/tmp'],
    ] as const)
      test(`threat 83: a process that holds too many deleted ${what} in ${where} is killed`, {
        skip: mode === 'trusted' || (where === '/workspace' && noOverlay),
      }, async () => {
        const artifact = await bench.artifact({ 'fill.py': source }, [web()]);
        const release = releaseOf('crowd' as ToolName, 1, artifact);
        const words = ['env', `TMPDIR=${where}`, 'timeout', '60', 'python3', 'fill.py'];
        const { why } = await oneOff(bench.runtime, release, words);
        assert.equal(why, 'The command was ended because it made more than 5000 files and folders.');
      });

    test('a one-off command that exceeds its disk limit is killed, and the person who runs it sees the reason', async () => {
      const artifact = await bench.artifact({ 'fill.py': filling }, [web()]);
      const release = releaseOf('once' as ToolName, 1, artifact);
      const { status, why } = await oneOff(bench.runtime, release, ['python3', '-u', 'fill.py']);
      assert.equal(status, 137);
      assert.equal(why, 'The command was ended because it wrote more than 20 MiB to disk.');
      assert.deepEqual(await processFolders(), []);
    });
  });
}
