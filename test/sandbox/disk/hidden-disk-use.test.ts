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
import mmap, os, tempfile, time
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

for (const uid of [0, 65_534]) {
  test(`a program with temporary files and shared memory is not taken for a program that hides files (uid of the server: ${uid})`, {
    skip: !isRoot,
  }, async () => {
    await using data = await dataFolder();
    await execa('chown', [`${uid}:${uid}`, data.path]);
    await chmod(data.path, 0o711);
    const server = `
import { mkdir } from 'node:fs/promises';
import { foldersWithSecrets } from ${JSON.stringify(module)};
import { lineOf, sandboxIn, startIn } from ${JSON.stringify(bench)};
const folder = ${JSON.stringify(`${data.path}/watched-${process.pid}`)};
await mkdir(folder + '/tmp', { recursive: true });
const sandbox = await sandboxIn(${JSON.stringify(data.path)}, 'isolated');
await sandbox.own([folder + '/tmp'], 1);
const mounts = [{ source: folder + '/tmp', target: '/tmp', isWritable: true }];
const child = startIn(sandbox, ['/usr/bin/python3', '-c', ${JSON.stringify(honest)}], { mounts });
await lineOf(child, /ready/);
console.log('found', [...await foldersWithSecrets([folder])].length);
child.kill();
await child.exited;`;
    const user = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'];
    const node = [process.execPath, '--input-type=module', '-e', server];
    const { stdout } = await execa('setpriv', [...user, ...node], { stdin: 'ignore' });
    assert.equal(stdout, 'found 0');
  });
}

for (const mode of ['isolated', 'trusted'] as const) {
  test(`threat 83: a process in a sandbox of the mode ${mode} may open at most 16,384 files`, async () => {
    await using data = await dataFolder();
    const sandbox = await sandboxIn(data.path, mode);
    const { output } = await runIn(sandbox, ['sh', '-c', 'ulimit -Hn']);
    // A server that may open fewer cannot give more to others.
    const { stdout: own } = await execa('sh', ['-c', 'ulimit -Hn']);
    assert.equal(Number(output), Math.min(16_384, Number(own)));
  });
}
