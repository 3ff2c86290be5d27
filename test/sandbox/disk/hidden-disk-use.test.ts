import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { dataFolder, isRoot, runIn, sandboxIn } from '../sandbox-bench.ts';

const bench = resolve(import.meta.dirname, '../sandbox-bench.ts');
const module = resolve(import.meta.dirname, '../../../src/sandbox/disk/hidden-disk-use.ts');

/** Holds files and memory without names, as honest programs do. */
const honest = `
import mmap, os, socket, tempfile, time
os.chdir('/tmp')
sockets = [socket.socket(socket.AF_UNIX) for name in ('here', '/tmp/there', '\\0nowhere', None)]
for each, name in zip(sockets, ('here', '/tmp/there', '\\0nowhere')): each.bind(name)
file = tempfile.TemporaryFile(dir='/tmp')
file.truncate(4096)
mapped = mmap.mmap(file.fileno(), 4096)
shared = mmap.mmap(-1, 4096)
memory = os.memfd_create('cache')
os.truncate(memory, 4096)
of_memory = mmap.mmap(memory, 4096)
os.close(memory)
print('ready', flush=True)
time.sleep(60)`;

/** Keeps folders that were deleted: the open file keeps them, and nobody can see them. */
const keeping = `
import os, time
os.makedirs('/tmp/once/large')
file = open('/tmp/once/large/file', 'w')
os.unlink('/tmp/once/large/file')
os.removedirs('/tmp/once/large')
print('ready', flush=True)
time.sleep(60)`;

/** Keeps a Unix socket without a name. A tool can bind it in a folder, and delete that folder. */
const bound = `
import os, socket, time
os.chdir('/tmp')
kept = socket.socket(socket.AF_UNIX)
kept.bind('name')
os.unlink('name')
print('ready', flush=True)
time.sleep(60)`;

/**
 * Works in a deleted folder that once had 6,000 names. The flags of clone are CLONE_VM, CLONE_SIGHAND, CLONE_THREAD and
 * CLONE_FILES, but not CLONE_FS: the thread has a working folder of its own.
 */
const staying = `
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
os.mkdir('/tmp/gone')
os.chdir('/tmp/gone')
open('0', 'w').close()
names = ['%05d' % number + 'x' * 245 for number in range(6000)]
for name in names: os.link('0', name)
stack = ctypes.create_string_buffer(65536)
libc.clone(ctypes.cast(libc.pause, ctypes.c_void_p), ctypes.addressof(stack) + 65536, 0x10d00, None)
for name in [*names, '0']: os.unlink(name)
os.chdir('/')
os.rmdir('/tmp/gone')
print('ready', flush=True)
time.sleep(60)`;

const secrets = '[...await foldersWithSecrets([folder])].length';
const hiddenBytes = `await (async () => {
  const hidden = new HiddenUse();
  await hidden.look([folder], 'pause');
  return hidden.of(folder).bytes;
})()`;

/** Counts in a file, and has two more files. */
const counting = `
import os, time
for name in ('one', 'two'): open('/tmp/' + name, 'w').close()
file = os.open('/tmp/count', os.O_CREAT | os.O_WRONLY)
print('ready', flush=True)
for count in range(6000):
    os.pwrite(file, b'%d' % count, 0)
    time.sleep(0.01)`;

/**
 * The number of files and folders that the server has seen in a stopped sandbox, or -1 if the program in the sandbox does
 * not run again afterwards. Two of them are folders, and one is the deleted pipe that takes the output.
 */
const filesWhileStopped = `await (async () => {
  const files = (await useWhileStopped([folder])).get(folder)?.entries;
  const count = () => readFile(folder + '/tmp/count', 'utf8');
  await wait(500);
  const before = await count();
  await wait(500);
  return (await count()) === before ? -1 : files;
})()`;

/** Runs a Python program in a sandbox. @returns the value of a JavaScript expression about the sandbox's folder. */
async function seen(expression: string, program: string, uid: number): Promise<number> {
  await using data = await dataFolder();
  await execa('chown', [`${uid}:${uid}`, data.path]);
  await chmod(data.path, 0o711);
  const server = `
import { mkdir, readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { useWhileStopped } from ${JSON.stringify(module.replace('hidden', 'stopped'))};
import { foldersWithSecrets, HiddenUse } from ${JSON.stringify(module)};
import { lineOf, sandboxIn, startIn } from ${JSON.stringify(bench)};
const folder = ${JSON.stringify(`${data.path}/watched-${process.pid}`)};
await mkdir(folder + '/tmp', { recursive: true });
const sandbox = await sandboxIn(${JSON.stringify(data.path)}, 'isolated');
await sandbox.own([folder + '/tmp'], 1);
const mounts = [{ source: folder + '/tmp', target: '/tmp', isWritable: true }];
const child = startIn(sandbox, ['/usr/bin/python3', '-c', ${JSON.stringify(program)}], { mounts });
await lineOf(child, /ready/);
console.log(${expression});
child.kill();
await child.exited;`;
  const user = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'];
  const node = [process.execPath, '--input-type=module', '-e', server];
  const { stdout } = await execa('setpriv', [...user, ...node], { stdin: 'ignore' });
  return Number(stdout);
}

for (const uid of [0, 65_534]) {
  test(
    `a program with temporary files and shared memory is not taken for a program that hides files (uid of the server: ${uid})`,
    {
      skip: !isRoot,
    },
    async () => assert.equal(await seen(secrets, honest, uid), 0),
  );

  test(
    `threat 112: a program that keeps a deleted file of a deleted folder open is taken for a program that hides files (uid of the server: ${uid})`,
    {
      skip: !isRoot,
    },
    async () => assert.equal(await seen(secrets, keeping, uid), 1),
  );

  test(
    `threat 116: a program with a Unix socket whose name was deleted is taken for a program that hides files (uid of the server: ${uid})`,
    { skip: !isRoot },
    async () => assert.equal(await seen(secrets, bound, uid), 1),
  );

  test(
    `threat 109: the deleted working folder of a thread counts as hidden disk use (uid of the server: ${uid})`,
    {
      skip: !isRoot,
    },
    async () => assert.ok((await seen(hiddenBytes, staying, uid)) > 1_000_000),
  );

  test(
    `a sandbox that was stopped for a measurement runs on afterwards (uid of the server: ${uid})`,
    { skip: !isRoot },
    async () => assert.equal(await seen(filesWhileStopped, counting, uid), 6),
  );
}

for (const mode of ['isolated', 'trusted'] as const) {
  test(`threats 83, 244: a process in a sandbox of the mode ${mode} may open at most 2,048 files`, async () => {
    await using data = await dataFolder();
    const sandbox = await sandboxIn(data.path, mode);
    const { output } = await runIn(sandbox, ['sh', '-c', 'ulimit -Hn; ulimit -Sn']);
    // A server that may open fewer files itself cannot give a higher limit to others.
    const { stdout: own } = await execa('sh', ['-c', 'ulimit -Hn']);
    const most = Math.min(2048, Number(own));
    assert.equal(output, `${most}\n${most}\n`);
  });
}
