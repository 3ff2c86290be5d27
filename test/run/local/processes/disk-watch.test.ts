import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { noOverlay } from '../../../support/overlay.ts';
import { changingMemory } from '../../../support/programs/changing-memory.ts';
import { SmallDisk } from '../../../support/small-disk.ts';

const child = join(import.meta.dirname, 'disk-watch-child.ts');
const PLAIN_USER = 65_534;
const MIB = 1024 * 1024;

/**
 * A program that makes endless deleted files of 1 MiB in a folder, and holds each file with the Python statements
 * `hold`.
 */
const hiding = (hold: string, folder = '/tmp') => `
import array, ctypes, mmap, os, socket, sys, time
${hold.includes('undumpable') ? 'ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)' : ''}
kept = []
while True:
    file = os.open('${folder}', os.O_TMPFILE | os.O_RDWR)
    try: os.write(file, bytes(${MIB}))
    except OSError: time.sleep(1)
    ${hold}
    time.sleep(0.02)`;

const queueing = hiding(`kept.append(socket.socketpair())
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [file]))
    kept[-1][0].sendmsg([b'x'], [rights])
    os.close(file)`);
const python = (program: string) => ['python3', '-c', program];

/**
 * Runs a program on a small disk.
 *
 * @param beside - A Python program that runs at the same time, and the number of its tool. The first program is of tool
 * 1.
 * @returns why the program was ended; `beside` if the other program was ended first; null if none was ended within
 * five minutes.
 */
async function endOf(
  uid: number,
  argv: readonly string[],
  bytes = 0,
  [beside, besideTool]: readonly [program: string, tool: number] = ['', 2],
): Promise<unknown> {
  using disk = new SmallDisk({ mebibytes: 100, entries: 10_000 });
  await execa('chown', [`${uid}:${uid}`, disk.folder]);
  const user = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'];
  const server = [process.execPath, child, disk.folder, `${bytes}`, beside, `${besideTool}`, ...argv];
  const { stdout } = await execa('setpriv', [...user, ...server], { stdin: 'ignore' });
  return JSON.parse(stdout);
}

test('threat 83: if a process fills the disk with deleted files that wait in socket queues, the server ends it', {
  skip: SmallDisk.whyNot,
}, async () => {
  assert.deepEqual(await endOf(0, python(queueing)), { kind: 'room' });
});

test('threat 83: on a full disk, the server ends a process that hides files before a process with a large log that grows slowly', {
  skip: SmallDisk.whyNot,
}, async () => {
  const leaving = queueing.replace(
    'while True:',
    `time.sleep(7)
while True:
    room = os.statvfs('/tmp')
    if room.f_bavail * room.f_frsize < ${4 * MIB}: time.sleep(600)`,
  );
  const logging = `
import time
with open('/tmp/log', 'wb', 0) as log:
    log.write(bytes(${12 * MIB}))
    while True:
        log.write(bytes(4096))
        time.sleep(0.05)`;
  assert.deepEqual(await endOf(0, python(leaving), 1024 * MIB, [logging, 2]), { kind: 'room' });
});

test('threats 139, 141: if a tool and its preview together fill more than a quarter of the disk, the server ends one of their processes, although each process is below run_disk', {
  skip: SmallDisk.whyNot,
}, async () => {
  const writing = (name: string) => `
import time
with open('/tmp/${name}', 'wb') as file: file.write(bytes(18 * ${MIB}))
time.sleep(600)`;
  const end = await endOf(0, python(writing('a')), 20 * MIB, [writing('b'), 3]);
  assert.match(JSON.stringify(end), /^("beside"|\{"kind":"bytes-of-tool","limit":\d+\})$/);
});

test('threat 83: the server ends a process with so many open files that the server cannot find the deleted ones among them', {
  skip: SmallDisk.whyNot,
}, async () => {
  const crowding = `
import os, time
for child in range(40):
    if os.fork() == 0:
        null = os.open('/dev/null', os.O_RDONLY)
        for target in range(100, 2048): os.dup2(null, target)
        break
time.sleep(600)`;
  assert.deepEqual(await endOf(0, python(crowding), 1024 * MIB), { kind: 'open-files', limit: 65_536 });
});

test('threat 104: the server ends a process with so many mapped files that the server cannot find the deleted ones among them', {
  skip: SmallDisk.whyNot,
}, async () => {
  const mapping = `
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
program = os.open('/usr/bin/env', os.O_RDONLY)
for count in range(65000): libc.mmap(None, 4096, 1, 2, program, 0)
for child in range(30):
    if os.fork() == 0: break
time.sleep(600)`;
  assert.deepEqual(await endOf(0, python(mapping), 1024 * MIB), { kind: 'open-files', limit: 65_536 });
});

test('threat 137: the server ends a process that hides its deleted files from the server by changing its memory mappings all the time', {
  skip: SmallDisk.whyNot,
}, async () => {
  // With a low priority, the process does not keep the search from a processor. Otherwise the machine would count as
  // slow.
  const changing = `import os; os.nice(19)\n${changingMemory(24)}`;
  const end = await endOf(0, python(changing), 1024 * MIB);
  assert.deepEqual(end, { kind: 'open-files', limit: 65_536 });
});

/** The beginning of an `if` statement in a Python loop: the loop writes only while more than 2 MiB are free. */
const untilFull = `
    room = os.statvfs('/tmp')
    if room.f_bavail * room.f_frsize > ${2 * MIB}:`;

for (const uid of [0, PLAIN_USER])
  test(`threat 114: if the disk is full, the server ends processes that pass deleted files to each other all the time (uid of the server: ${uid})`, {
    skip: SmallDisk.whyNot,
  }, async () => {
    const handing = `
import os, time
if os.fork(): time.sleep(600)
while True:${untilFull}
        try: os.write(os.open('/tmp', os.O_TMPFILE | os.O_RDWR), bytes(${MIB}))
        except OSError: pass
    time.sleep(0.003)
    if os.fork(): os._exit(0)`;
    assert.deepEqual(await endOf(uid, python(handing), 1024 * MIB), { kind: 'room' });
  });

test('threat 115: if the disk is full, the server ends a process that has files in folders and renames these folders all the time', {
  skip: SmallDisk.whyNot,
}, async () => {
  const renaming = `
import os, time
open('/tmp/one', 'w').close()
folder = os.open('/tmp', os.O_RDONLY)
for level in range(2):
    for name in range(12000): os.link('/tmp/one', str(name), dst_dir_fd=folder)
    os.mkdir('m0', dir_fd=folder)
    if os.fork() == 0:
        count = 0
        while True:
            os.rename('m%d' % count, 'm%d' % (count + 1), src_dir_fd=folder, dst_dir_fd=folder)
            count += 1
    inner = None
    while inner is None:
        try: inner = os.open([name for name in os.listdir(folder) if name[0] == 'm'][0], os.O_RDONLY, dir_fd=folder)
        except (OSError, IndexError): pass
    folder = inner
count = 0
while True:${untilFull}
        file = os.open(str(count), os.O_CREAT | os.O_WRONLY, dir_fd=folder)
        count += 1
        try: os.write(file, bytes(${MIB}))
        except OSError: pass
        os.close(file)
    time.sleep(0.01)`;
  assert.deepEqual(await endOf(0, python(renaming), 1024 * MIB), { kind: 'room' });
});

/**
 * A program that moves deep folders from one folder to another all the time, while files in them grow to 60 MiB
 * together.
 */
const movingDeep = `
import os, time
for place in 'ab': os.mkdir('/tmp/' + place)
for number in range(12):
    deep = '/tmp/a/%d/1/2/3/4/5/6/7' % number
    os.makedirs(deep)
    for name in range(200): open(deep + '/%d' % name, 'w').close()
    folder = os.open(deep, os.O_RDONLY)
    if os.fork() == 0:
        while True:
            os.rename('/tmp/a/%d' % number, '/tmp/b/%d' % number)
            os.rename('/tmp/b/%d' % number, '/tmp/a/%d' % number)
    if os.fork() == 0:
        time.sleep(5)
        for name in range(5):
            with os.fdopen(os.open('%d' % name, os.O_WRONLY, dir_fd=folder), 'wb') as file: file.write(bytes(${MIB}))
        time.sleep(600)
time.sleep(600)`;

test('threat 152: the server ends a process that moves deep folders all the time, whether or not their disk use can be measured', {
  skip: SmallDisk.whyNot,
}, async () => {
  const end = await endOf(0, python(movingDeep), 20 * MIB);
  assert.match(JSON.stringify(end), /^\{"kind":("moving"|"bytes","limit":\d+)\}$/);
});

test('threat 152: the server ends a process that renames a folder before each measurement, if the folder hides more than run_disk', {
  skip: SmallDisk.whyNot,
}, async () => {
  // The measurement reads 12,000 other names too. When it comes to this folder, the folder has another name.
  const renaming = `
import os, time
open('/tmp/one', 'w').close()
top = os.open('/tmp', os.O_RDONLY)
for name in range(12000): os.link('/tmp/one', '/tmp/%d' % name)
os.mkdir('/tmp/m0')
folder = os.open('/tmp/m0', os.O_RDONLY)
if os.fork() == 0:
    count = 0
    while True:
        os.rename('m%d' % count, 'm%d' % (count + 1), src_dir_fd=top, dst_dir_fd=top)
        count += 1
time.sleep(5)
for number in range(60):
    with os.fdopen(os.open('%d' % number, os.O_CREAT | os.O_WRONLY, dir_fd=folder), 'wb') as file: file.write(bytes(${MIB}))
    time.sleep(0.2)
time.sleep(600)`;
  assert.deepEqual(await endOf(0, python(renaming), 20 * MIB), { kind: 'bytes', limit: 20 * MIB });
});

for (const folder of ['/tmp', '/workspace'])
  test(`threat 60: deleted files in ${folder} count towards the disk limit, even if the process hides them by PR_SET_DUMPABLE from a server that is not root`, {
    skip: SmallDisk.whyNot || (folder === '/workspace' && noOverlay),
  }, async () => {
    const end = await endOf(PLAIN_USER, python(hiding('kept.append(file) # undumpable', folder)), 20 * MIB);
    assert.deepEqual(end, { kind: 'bytes', limit: 20 * MIB });
  });

test('threat 83: the server ends a program that may be executed but not read if it fills the disk with deleted files, even if the server is not root', {
  skip: SmallDisk.whyNot,
}, async () => {
  const closed =
    'cp /usr/bin/python3 /tmp/closed; chmod 111 /tmp/closed; PYTHONHOME=/usr exec /tmp/closed -c "$0"';
  const end = await endOf(PLAIN_USER, ['sh', '-c', closed, hiding('kept.append(file)')]);
  assert.deepEqual(end, { kind: 'room' });
});

test('threat 83: the server ends a process that fills the disk with mapped, deleted files, even if the server is not root', {
  skip: SmallDisk.whyNot,
}, async () => {
  const mapping = hiding(`libc = ctypes.CDLL(None)
    libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0))
    os.close(file)`);
  assert.deepEqual(await endOf(PLAIN_USER, python(mapping)), { kind: 'room' });
});
