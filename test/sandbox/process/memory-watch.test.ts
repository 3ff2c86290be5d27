import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { freemem, totalmem } from 'node:os';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { MemoryWatch } from '../../../src/sandbox/process/memory-watch.ts';
import { signal } from '../../../src/sandbox/process/process-table.ts';
import { changingMemory } from '../../support/programs/changing-memory.ts';
import { dataFolder, runIn, sandboxIn } from '../sandbox-bench.ts';

const MIB = 1024 * 1024;
const limits = { processes: 256, memoryBytes: 96 * MIB, fileBytes: 1024 * MIB };

/** Ways to take more than 96 MiB of memory that a limit on each single process does not find. */
const TAKING = {
  'files in memory': `
held = [os.memfd_create('x') for _ in range(512)]
for file in held: os.write(file, bytes(${MIB}))`,
  'files in memory that other processes hold': `
for _ in range(16):
    file = os.memfd_create('x')
    if os.fork() == 0:
        for _ in range(32): os.write(file, bytes(${MIB}))
        time.sleep(300)
    os.close(file)`,
  'files in memory behind hundreds of thousands of descriptors': `
for number in range(10, 2048): os.dup2(0, number)
for _ in range(240): os.posix_spawn('/bin/sleep', ['sleep', '300'], {})
if os.fork() == 0:
    file = os.memfd_create('x')
    for _ in range(512): os.write(file, bytes(${MIB}))
    time.sleep(300)`,
  'files in memory that are the program of a process, which has unmapped them': `
program = open('/usr/bin/python3', 'rb').read()
code = '''
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
own = [line.split()[:2] for line in open('/proc/self/maps') if '/memfd:' in line]
for place, rights in own:
    start, end = [int(half, 16) for half in place.split('-')]
    size = ctypes.c_size_t(end - start)
    copy = ctypes.c_void_p(libc.mmap(None, size, 7, 0x22, -1, 0))
    ctypes.memmove(copy, ctypes.c_void_p(start), end - start)
    libc.mprotect(copy, size, sum(number for right, number in zip('rwx', (1, 2, 4)) if right in rights))
    libc.mremap(copy, size, size, 3, ctypes.c_void_p(start))
os.write(7, b'unmapped')
time.sleep(300)
'''
reader, writer = os.pipe()
os.dup2(writer, 7)
for _ in range(4):
    file = os.memfd_create('x')
    os.write(file, program)
    for _ in range(32): os.write(file, bytes(${MIB}))
    if os.fork() == 0: os.execve(file, ['/usr/bin/python3', '-c', code], {})
    os.close(file)
    os.read(reader, 8)`,
  'files in memory that wait in sockets': `
held = [socket.socketpair() for _ in range(16)]
for left, _ in held:
    file = os.memfd_create('x')
    os.posix_fallocate(file, 0, 32 * ${MIB})
    socket.send_fds(left, [b'x'], [file])
    os.close(file)`,
  'shared memory': `
held = mmap.mmap(-1, 512 * ${MIB})
for place in range(0, len(held), 4096): held[place] = 1`,
  'segments of System V that no process uses': `
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
for _ in range(16):
    segment = libc.shmget(0, ctypes.c_size_t(32 * ${MIB}), 0o1600)
    place = libc.shmat(segment, None, 0)
    ctypes.memset(place, 1, 32 * ${MIB})
    libc.shmdt(ctypes.c_void_p(place))`,
  'page tables of a small file that is mapped many times': `
file = os.memfd_create('x')
os.write(file, bytes(32 * ${MIB}))
# Each mapping by the module mmap would keep a file open, and a process may open only 2,048.
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
for _ in range(2560):
    place = libc.mmap(None, ctypes.c_size_t(32 * ${MIB}), mmap.PROT_READ, mmap.MAP_SHARED | mmap.MAP_POPULATE, file, 0)
    assert place != ctypes.c_void_p(-1).value, ctypes.get_errno()`,
  'many processes': `
for _ in range(16):
    if os.fork() == 0:
        held = os.urandom(32 * ${MIB})
        time.sleep(300)`,
  'a process whose first thread has ended': `
def take():
    held = [os.urandom(16 * ${MIB}) for _ in range(32)]
    time.sleep(300)
threading.Thread(target=take).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)`,
} as const;

for (const [what, program] of Object.entries(TAKING)) {
  test(`threat 60: memory beyond the limit ends a sandbox: ${what}`, async () => {
    await using data = await dataFolder();
    const sandbox = await sandboxIn(data.path, 'isolated');
    const code = `import ctypes, mmap, os, socket, threading, time\n${program}\ntime.sleep(300)`;
    const exit = await runIn(sandbox, ['/usr/bin/python3', '-c', code], { limits });
    assert.equal(exit.isOutOfMemory, true, JSON.stringify(exit));
  });
}

test('threat 60: memory beyond a limit of more than 2 GiB ends a sandbox', {
  skip: freemem() < 4096 * MIB && 'this machine has too little free memory',
}, async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const code = `
import os, time
held = [os.memfd_create('x') for _ in range(3)]
for file in held: os.posix_fallocate(file, 0, 768 * ${MIB})
time.sleep(300)`;
  const large = { ...limits, memoryBytes: 2100 * MIB };
  const exit = await runIn(sandbox, ['/usr/bin/python3', '-c', code], { limits: large });
  assert.equal(exit.isOutOfMemory, true, JSON.stringify(exit));
});

test('memory that several processes of a sandbox share counts only once', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const code = `
import mmap, os, time
held = os.urandom(32 * ${MIB})
shared = mmap.mmap(-1, 32 * ${MIB})
for place in range(0, len(shared), 4096): shared[place] = 1
for _ in range(8):
    if os.fork() == 0:
        sum(shared[place] for place in range(0, len(shared), 4096))
        time.sleep(6)
        os._exit(0)
time.sleep(6)
print('done')`;
  const exit = await runIn(sandbox, ['/usr/bin/python3', '-c', code], { limits });
  assert.equal(exit.isOutOfMemory, false);
  assert.equal(exit.output, 'done\n');
});

test('threat 138: while two processes change their memory all the time, a third process over its memory limit is found within 25 s', async () => {
  const started: ChildProcess[] = [];
  const start = (program: string) => {
    const argv = ['-c', 'python3 -c "$0" & wait', program];
    const child = spawn('sh', argv, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    started.push(child);
    return child;
  };
  const watch = new MemoryWatch();
  try {
    for (let count = 0; count < 2; count += 1) {
      const changing = start(changingMemory(24));
      await once(changing.stdout, 'data');
      watch.watch(changing.pid ?? 0, { limitBytes: 16 * MIB, toolNumber: count }, () => {});
    }
    // Gives the memory watch time to look at both processes.
    await wait(3000);
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const taking = start(
      `import time; held = b'x' * ${200 * MIB}; print('held', flush=True); time.sleep(600)`,
    );
    await once(taking.stdout, 'data');
    const before = performance.now();
    watch.watch(taking.pid ?? 0, { limitBytes: 100 * MIB, toolNumber: 9 }, () => resolve());
    await Promise.race([over, wait(60_000, null, { ref: false })]);
    const tookMs = performance.now() - before;
    assert.ok(tookMs < 25_000, `${tookMs} ms`);
  } finally {
    for (const { pid = 0 } of started) signal(-pid, 'SIGKILL');
  }
});

test('threat 140: if the processes of a tool together exceed its memory, the newest large ones are ended; small ones and other tools continue', async () => {
  const started: ChildProcess[] = [];
  const watch = new MemoryWatch((60 * MIB) / totalmem());
  const { promise: over, resolve } = Promise.withResolvers<string>();
  try {
    for (const [name, size, toolNumber] of [
      ['other', 45, 1],
      ['live', 40, 2],
      ['new', 30, 2],
      ['small', 1, 2],
    ] as const) {
      const program = `import os, time; held = os.urandom(${size * MIB}); print('held', flush=True); time.sleep(600)`;
      const argv = ['-c', 'python3 -c "$0" & wait', program];
      const child = spawn('sh', argv, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
      started.push(child);
      await once(child.stdout, 'data');
      watch.watch(child.pid ?? 0, { limitBytes: 58 * MIB, toolNumber }, (isForTool) =>
        resolve(`${name}, ${isForTool}`),
      );
    }
    assert.equal(await Promise.race([over, wait(30_000, 'none', { ref: false })]), 'new, true');
  } finally {
    for (const { pid = 0 } of started) signal(-pid, 'SIGKILL');
  }
});
