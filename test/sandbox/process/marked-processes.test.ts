import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import {
  endMarked,
  PROCESS_VARIABLE,
  signalMarkedAmong,
} from '../../../src/sandbox/process/marked-processes.ts';
import { signal } from '../../../src/sandbox/process/process-table.ts';

test('threat 60: while the server searches hundreds of processes for leftovers of a sandbox, it stays responsive', {
  skip: process.platform !== 'linux',
}, async () => {
  const many = 'i=0; while [ $i -lt 400 ]; do sleep 60 & i=$((i + 1)); done; echo ready; wait';
  const crowd = spawn('sh', ['-c', many], { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  await once(crowd.stdout, 'data');
  let turns = 0;
  const count = () => {
    turns += 1;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  assert.deepEqual(await endMarked(PROCESS_VARIABLE, 'of nobody'), []);
  clearImmediate(next);
  signal(-(crowd.pid ?? 0), 'SIGKILL');
  assert.ok(turns > 5, `${turns} turns`);
});

test('threat 105: a process whose environment is full of NULs does not slow down the server when the server sends a signal to all processes that a variable marks', {
  skip: process.platform !== 'linux',
}, async () => {
  const filled = `
import ctypes, os, resource, sys, time
if len(sys.argv) == 2:
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))
    large = {f'V{count}': 'x' * 131000 for count in range(45)}
    os.execve('/usr/bin/python3', ['python3', '-c', sys.argv[1], sys.argv[1], 'again'], large)
fields = open('/proc/self/stat').read().rsplit(') ', 1)[1].split()
ctypes.memset(int(fields[47]), 0, int(fields[48]) - int(fields[47]))
print('ready', flush=True)
time.sleep(60)`;
  const hostile = spawn('/usr/bin/python3', ['-c', filled, filled], { stdio: ['ignore', 'pipe', 'inherit'] });
  const marked = spawn('sleep', ['60'], { env: { ...process.env, MARK: 'of this test', LAST: '' } });
  try {
    await once(hostile.stdout, 'data');
    const ended = once(marked, 'exit');
    const before = performance.now();
    await signalMarkedAmong([hostile.pid ?? 0, marked.pid ?? 0], ['MARK', 'of this test'], 'SIGTERM');
    const tookMs = performance.now() - before;
    assert.deepEqual(await ended, [null, 'SIGTERM']);
    assert.equal(hostile.exitCode, null);
    assert.ok(tookMs < 500, `${tookMs} ms`);
  } finally {
    for (const child of [hostile, marked]) child.kill('SIGKILL');
  }
});

test('threat 125: a process that holds the lock of its memory does not stop the server when the server sends a signal to all processes that a variable marks', {
  skip: process.platform !== 'linux',
}, async () => {
  // The kernel copies the mappings at a fork under the lock, and the busy processes leave little time for that.
  const locked = `
import ctypes, mmap, os, signal
signal.alarm(60)
for _ in range(2 * os.cpu_count()):
    if os.fork() == 0:
        signal.alarm(60)
        while True: pass
area = mmap.mmap(-1, 30000 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
for page in range(30000):
    area[page * 4096] = 1
    if page % 2 == 0: ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + page * 4096), ctypes.c_size_t(4096), mmap.PROT_READ)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
print('ready', flush=True)
while True:
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)`;
  const hostile = spawn('/usr/bin/python3', ['-c', locked], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  let longestMs = 0;
  let before = performance.now();
  const timer = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - before);
    before = performance.now();
  }, 5);
  try {
    await once(hostile.stdout, 'data');
    longestMs = 0;
    for (let count = 0; count < 2; count += 1) {
      await wait(300);
      await signalMarkedAmong([hostile.pid ?? 0], ['MARK', 'of this test'], 'SIGTERM');
    }
    await wait(20);
    assert.ok(longestMs < 1000, `${longestMs} ms`);
  } finally {
    clearInterval(timer);
    signal(-(hostile.pid ?? 0), 'SIGKILL');
  }
});
