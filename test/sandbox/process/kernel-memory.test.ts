import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chown, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { stepFailed } from '../../../src/builder/build-failures.ts';
import { isMemoryScarce, restrictingPages } from '../../../src/core/network/socket-memory.ts';
import { exitWords } from '../../../src/run/words/exit-words.ts';
import { HeldNetwork } from '../../../src/sandbox/isolated/held-network.ts';
import { until } from '../../support/server.ts';
import { dataFolder, isRoot, lineOf, runIn, sandboxIn, startIn } from '../sandbox-bench.ts';

const PLAIN_USER = 65_534;

/** The beginning of a Python program. It raises the limit of open files to the hard limit. */
const openMany = `import resource, socket, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
`;

const limits = { processes: 64, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 * 1024 };

const SOCKETS = `
import socket, struct
one = struct.pack('IHHIIBxHiII', 32, 18, 0x0001, 0, 0, 0, 0, 1, 0, 0)
def filled():
    # Each request is for the data of the device lo. Nobody reads the answers.
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    try: s.send(one * 1000)
    except OSError: pass
    return s
held = [filled() for _ in range(COUNT)]`;

const LOCKS = `
import fcntl, os
def locked(number):
    file = os.open(f'/tmp/{number}', os.O_RDWR | os.O_CREAT)
    for place in range(200, 0, -1): fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * place)
    return file
def take(count): return [locked(f'{os.getpid()}-{number}') for number in range(count)]
for _ in range(PROCESSES):
    if os.fork() == 0:
        held = take(COUNT)
        time.sleep(300)`;

const SHARED_LOCKS = `
import fcntl, os
def shared():
    file = os.open('/dev/null', os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_SH)
    return file`;

const locksOfNull = (count: number) => `
import fcntl
file = open('/dev/null')
for place in range(${count}, 0, -1): fcntl.lockf(file, fcntl.LOCK_SH, 1, 2 * place)`;

const ATTACKS = [
  {
    name: 'threat 219: a sandbox is ended if unread answers in its netlink sockets take too much kernel memory, which no control group counts',
    program: SOCKETS.replace('COUNT', '1900'),
  },
  {
    name: 'threat 220: a sandbox is ended if its processes hold hundreds of thousands of file locks, which no control group counts',
    program: LOCKS.replace('PROCESSES', '2').replace('COUNT', '1500'),
  },
  {
    name: 'threat 233: a sandbox is ended if it has thousands of read locks of /dev/null, because the kernel walks them all when any program closes /dev/null',
    program: locksOfNull(5000),
  },
  {
    name: 'threat 233: a sandbox is ended if it has thousands of shared locks of /dev/null by flock',
    program: `${SHARED_LOCKS}
for _ in range(2):
    if os.fork() == 0: break
held = [shared() for _ in range(1900)]`,
  },
  {
    name: 'threat 233: a sandbox is ended if it has thousands of locks of /dev/null by flock, whose files wait in the queue of a socket',
    program: `${SHARED_LOCKS}
import socket
ends = socket.socketpair()
for _ in range(20):
    files = [shared() for _ in range(100)]
    socket.send_fds(ends[0], [b'x'], files)
    for file in files: os.close(file)
held = [shared() for _ in range(500)]`,
  },
  {
    name: 'threat 245: a sandbox is ended if it has a hundred thousand watches of one file by epoll, which each write to the file walks',
    program: `
import os, select
file = os.eventfd(0)
files = [os.dup(file) for _ in range(1000)]
held = [select.epoll() for _ in range(100)]
for one in held:
    for file in files: one.register(file, select.EPOLLIN)`,
  },
];

for (const { name, program } of ATTACKS) {
  test(name, async () => {
    await using data = await dataFolder();
    const sandbox = await sandboxIn(data.path, 'isolated');
    const code = `${openMany}
${program}
time.sleep(30)
print('nobody ended this')`;
    const exit = await runIn(sandbox, ['/usr/bin/python3', '-c', code], { limits });
    assert.equal(exit.output, '');
    assert.equal(exit.isOverKernelLimits, true, JSON.stringify(exit));
    assert.match(
      exitWords(exit, limits.memoryBytes),
      /^was ended because it had more than 2,000 locks of files/,
    );
    const step = { ...exit, name: 'pip', lastLines: [] };
    assert.match(
      stepFailed(step, limits).message,
      /^pip was ended because it had more than 2,000 locks of files/,
    );
  });
}

/** A Python program that connects to itself by TCP until this many megabytes wait in its sockets. Nobody reads them. */
const fillTcp = (megabytes: number) => `${openMany}
listener = socket.create_server(('127.0.0.1', 8000), backlog=4000)
held, sent = [], 0
while sent < ${megabytes} << 20:
    one = socket.create_connection(('127.0.0.1', 8000))
    held += [one, listener.accept()[0]]
    one.setblocking(False)
    try:
        while True: sent += one.send(bytes(1 << 16))
    except BlockingIOError: pass
`;

test('threat 255: if the machine runs short of memory for TCP connections, the server ends the sandbox that uses most of it, but not one that uses a few megabytes', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const program = (megabytes: number) => [
    '/usr/bin/python3',
    '-c',
    `${fillTcp(megabytes)}\nprint('filled', flush=True)\ntime.sleep(10)\nprint('done')`,
  ];
  // This is less than the memory at which the kernel begins to restrict connections.
  const most = Math.floor((0.75 * restrictingPages('TCP') * 4096) / 1024 / 1024);
  const [honest, hostile] = await Promise.all([
    runIn(sandbox, program(4), { limits }),
    runIn(sandbox, program(most), { limits, toolNumber: 2 }),
  ]);
  assert.equal(hostile.isOverKernelLimits, true, JSON.stringify(hostile));
  assert.doesNotMatch(hostile.output, /done/);
  assert.match(
    exitWords(hostile, limits.memoryBytes),
    /too much unread or unsent data in TCP or UDP sockets/,
  );
  assert.equal(honest.output, 'filled\ndone\n');
  await until(async () => !isMemoryScarce('TCP'), 'memory for connections', 20_000);
});

/** How many mebibytes of memory all TCP connections of the machine have. */
async function tcpMebibytes(): Promise<number> {
  const text = await readFile('/proc/net/sockstat', 'utf8');
  return (Number(/^TCP:.* mem (\d+)/m.exec(text)?.[1]) * 4096) / 1024 / 1024;
}

/**
 * As `fillTcp`, but then the sockets drop each packet that they get, because its TTL is below 255. So they do not notice
 * that the other side ends.
 */
const fillDeaf = (megabytes: number) => `${fillTcp(megabytes)}
IP_MINTTL = 21
for one in held: one.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 255)
print('filled', flush=True)
`;

for (const how of ['it ends by itself', 'the server ends it', 'its network is shared']) {
  test(`threat 255: the memory of the TCP connections of a sandbox is free as soon as the sandbox has ended (${how})`, async () => {
    await using data = await dataFolder();
    const sandbox = await sandboxIn(data.path, 'isolated');
    const before = await tcpMebibytes();
    const isKilled = how === 'the server ends it';
    const network = how === 'its network is shared' ? sandbox.shareNetwork(1, limits) : undefined;
    if (network instanceof HeldNetwork)
      await until(async () => network.descriptors !== null, 'the network', 10_000);
    const code = `${fillDeaf(200)}\ntime.sleep(${isKilled ? 30 : 1})`;
    const running = startIn(sandbox, ['/usr/bin/python3', '-c', code], {
      limits,
      ...(network && { network }),
    });
    await lineOf(running, /^filled$/);
    const filled = (await tcpMebibytes()) - before;
    assert.ok(filled > 150, `only ${filled} MiB were filled`);
    if (isKilled) running.kill();
    await running.exited;
    network?.[Symbol.dispose]();
    await until(async () => (await tcpMebibytes()) - before < 50, 'the memory to be free', 3000);
  });
}

test('threat 255: while memory for TCP connections is scarce, a server that is root ends large connections that no process has any more', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const megabytes = Math.floor((0.6 * restrictingPages('TCP') * 4096) / 1024 / 1024);
  // pasta, which connects tools to the network, leaves such connections behind when it ends.
  const program = `${fillTcp(megabytes)}
for one in held[::2]: one.close()
print('closed', flush=True)
time.sleep(30)`;
  const outside = execa('/usr/bin/python3', ['-c', program], { reject: false });
  try {
    await once(outside.stdout, 'data');
    assert.equal(isMemoryScarce('TCP'), true);
    const running = startIn(sandbox, ['/usr/bin/sleep', '20']);
    await until(async () => !isMemoryScarce('TCP'), 'memory for connections', 10_000);
    running.kill();
    await running.exited;
  } finally {
    outside.kill('SIGKILL');
    await outside;
  }
});

test('threat 258: if the machine runs short of memory for UDP sockets, the server ends the sandbox that uses most of it, but not one that uses a few megabytes', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const fillUdp = (megabytes: number) => [
    '/usr/bin/python3',
    '-c',
    `${openMany}
import os
for _ in range(7):
    if os.fork() == 0: break
held, sent = [], 0
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while sent < (${megabytes} << 20) // 8:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
    # A sandbox has some 4,500 local ports of each address.
    one.bind((f'127.0.0.{2 + os.getpid() % 250}', 0))
    held.append(one)
    for _ in range(6): sent += sender.sendto(bytes(60_000), one.getsockname())
print('filled', flush=True)
time.sleep(10)
print('done')`,
  ];
  const most = Math.floor((0.75 * restrictingPages('UDP') * 4096) / 1024 / 1024);
  const [honest, hostile] = await Promise.all([
    runIn(sandbox, fillUdp(4), { limits }),
    runIn(sandbox, fillUdp(most), { limits, toolNumber: 2 }),
  ]);
  assert.equal(hostile.isOverKernelLimits, true, JSON.stringify(hostile));
  assert.doesNotMatch(hostile.output, /done/);
  assert.match(
    exitWords(hostile, limits.memoryBytes),
    /too much unread or unsent data in TCP or UDP sockets/,
  );
  assert.match(honest.output, /done\n$/);
  assert.equal(isMemoryScarce('UDP'), false);
});

test('threat 233: a server that is not root cannot read how many file locks the whole machine has in use, but still ends a sandbox with thousands of them', {
  skip: !isRoot,
}, async () => {
  await using data = await dataFolder();
  await chown(data.path, PLAIN_USER, PLAIN_USER);
  const server = `
import { runIn, sandboxIn } from ${JSON.stringify(resolve(import.meta.dirname, '../sandbox-bench.ts'))};
const sandbox = await sandboxIn(${JSON.stringify(data.path)}, 'isolated');
const code = ${JSON.stringify(`import time\n${locksOfNull(5000)}\ntime.sleep(40)\nprint('nobody ended this')`)};
console.log(JSON.stringify(await runIn(sandbox, ['/usr/bin/python3', '-c', code])));`;
  const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', server], {
    uid: PLAIN_USER,
    gid: PLAIN_USER,
  });
  const exit = JSON.parse(stdout);
  assert.equal(exit.output, '');
  assert.equal(exit.isOverKernelLimits, true, stdout);
});

test('a program with some 1,500 locks and fifty netlink sockets runs to its end while a hostile program, which is ended, takes hundreds of thousands of locks', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const honest = `import time
${SOCKETS.replace('COUNT', '50')}
${LOCKS.replace('PROCESSES', '0')}
more = take(7)
more += [os.dup(more[0]) for _ in range(500)]
print('ready', flush=True)
time.sleep(12)
print('done')`;
  const hostile = `import time\n${LOCKS.replace('PROCESSES', '2').replace('COUNT', '1500')}\ntime.sleep(30)`;
  const [exit, ended] = await Promise.all([
    runIn(sandbox, ['/usr/bin/python3', '-c', honest], { limits }),
    runIn(sandbox, ['/usr/bin/python3', '-c', hostile], { limits, toolNumber: 2 }),
  ]);
  assert.equal(ended.isOverKernelLimits, true);
  assert.equal(exit.output, 'ready\ndone\n');
  assert.equal(exit.isOverKernelLimits, undefined);
});

test('threat 246: the locks of all sandboxes of a tool count together; if they exceed the limit, the server ends the newest sandboxes with many locks until the rest are below the limit', async () => {
  await using data = await dataFolder();
  const sandbox = await sandboxIn(data.path, 'isolated');
  const runs = [
    { toolNumber: 1, count: 1500 },
    { toolNumber: 1, count: 1500 },
    { toolNumber: 1, count: 1500 },
    { toolNumber: 1, count: 10 },
    { toolNumber: 2, count: 1500 },
  ];
  const exits = await Promise.all(
    runs.map(({ toolNumber, count }) => {
      const code = `import time\n${locksOfNull(count)}\ntime.sleep(10)\nprint('done')`;
      return runIn(sandbox, ['/usr/bin/python3', '-c', code], { limits, toolNumber });
    }),
  );
  const isEnded = exits.map((exit) => exit.isOverKernelLimits === true);
  assert.equal(isEnded.slice(0, 3).filter(Boolean).length, 2, JSON.stringify(exits));
  assert.deepEqual(isEnded.slice(3), [false, false]);
  assert.equal(exits.filter(({ output }) => output === 'done\n').length, 3);
  const ended = exits.find((exit) => exit.isOverKernelLimits);
  assert.match(
    exitWords(ended ?? assert.fail(), limits.memoryBytes),
    /together with the other processes of this tool$/,
  );
});
