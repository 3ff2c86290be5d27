import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { Cgroup, Cgroups } from '../../../src/sandbox/process/cgroups.ts';
import { signal } from '../../../src/sandbox/process/process-table.ts';
import { startInCgroup } from '../../../src/sandbox/process/sandbox-child.ts';
import { dataFolder } from '../sandbox-bench.ts';

test('if the output pipe of a process cannot be created, the process’s control group is removed', async () => {
  await using data = await dataFolder();
  const groups = join(data.path, 'pids');
  await mkdir(groups);
  await writeFile(join(groups, 'cgroup.procs'), '');
  await writeFile(join(data.path, 'membership'), '1:pids:/\n');
  const options = { instance: 'abc', mount: data.path, membership: join(data.path, 'membership') };
  const group = new Cgroups(options).create('web', 7, { processes: 1, memoryBytes: 1, fileBytes: 1 });
  // Delete the files that the kernel removes together with the folder.
  for (const inner of ['web', '.'])
    await rm(join(groups, 'toolforge-push-abc-tools/tool-7', inner, 'pids.max'));
  const pipeFolder = join(data.path, 'gone');
  const start = () => startInCgroup(group, ['true'], { env: {}, cwd: '/', input: null, pipeFolder });
  assert.throws(start, /pipe for output/);
  assert.deepEqual(await readdir(groups), ['cgroup.procs']);
});

test('output that nobody has read when the program ends is not lost', {
  skip: process.platform !== 'linux',
}, async () => {
  await using data = await dataFolder();
  const options = { env: { PATH: '/usr/bin:/bin' }, cwd: '/', input: null, pipeFolder: data.path };
  const { child, output } = startInCgroup(new Cgroup([]), ['echo', 'said'], options);
  await once(child, 'exit');
  await wait(500);
  assert.equal(await text(output), 'said\n');
});

test('threat 150: the server itself does not read from the output pipe, because a process can hold the lock of the pipe for minutes', {
  skip: process.platform !== 'linux',
}, async () => {
  await using data = await dataFolder();
  const script = 'echo first; sleep 1000 & echo "$!"; read -r _ </dev/zero';
  const options = { env: { PATH: '/usr/bin:/bin' }, cwd: '/', input: null, pipeFolder: data.path };
  const { child, output, writers } = startInCgroup(new Cgroup([]), ['/bin/sh', '-c', script], options);
  try {
    const [chunk] = await once(output, 'data');
    assert.match(String(chunk), /^first\n/);
    const descriptors = await readdir('/proc/self/fd');
    const paths = await Promise.all(
      descriptors.map((one) => readlink(`/proc/self/fd/${one}`).catch(() => '')),
    );
    assert.deepEqual(
      paths.filter((path) => path.startsWith(data.path)),
      [],
    );
    assert.ok(writers().includes(child.pid ?? 0));
  } finally {
    signal(-(child.pid ?? 0), 'SIGKILL');
  }
  // The program that reads from the pipe ends with the last process that writes to it.
  await once(output, 'end');
  assert.deepEqual(writers(), []);
});

const WITHOUT_ROOM = `
  const { closeSync, openSync, readdirSync } = await import('node:fs');
  const { exitOf, startInCgroup } = await import('./src/sandbox/process/sandbox-child.ts');
  const { Cgroup } = await import('./src/sandbox/process/cgroups.ts');
  const pipeFolder = process.argv[1];
  const start = async () => {
    const { child, output } = startInCgroup(new Cgroup([]), ['true'], { env: {}, cwd: '/', input: '', pipeFolder });
    output.resume();
    return (await exitOf(child)).code;
  };
  await start();
  const found = [];
  for (let room = 0; room < 12; room++) {
    const held = [];
    try { for (;;) held.push(openSync('/dev/null')); } catch {}
    for (const file of held.splice(0, room)) closeSync(file);
    found.push(await start().catch(() => 'refused'));
    for (const file of held) closeSync(file);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log(JSON.stringify({ found: [...new Set(found)], pipes: readdirSync(pipeFolder) }));
`;

test('if the server may open no more files, it refuses to start a process, and continues', async () => {
  await using data = await dataFolder();
  const script = 'ulimit -n 100 && exec "$@"';
  const node = [process.execPath, '--input-type=module', '-e', WITHOUT_ROOM, data.path];
  const { stdout } = await execa('bash', ['-c', script, 'bash', ...node], {
    cwd: join(import.meta.dirname, '../../..'),
  });
  assert.deepEqual(JSON.parse(stdout), { found: ['refused', 0], pipes: [] });
});
