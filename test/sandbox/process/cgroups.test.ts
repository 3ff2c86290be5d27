import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cgroups } from '../../../src/sandbox/process/cgroups.ts';
import { dataFolder } from '../sandbox-bench.ts';

const limits = { processes: 10, memoryBytes: 1024, fileBytes: 1 };

/** Makes plain folders that look like the kernel's control groups, to check what the server writes into them. */
async function hierarchy(root: string, folders: readonly string[], membership: string) {
  for (const folder of folders) {
    await mkdir(join(root, 'mount', folder), { recursive: true });
    await writeFile(join(root, 'mount', folder, 'cgroup.procs'), '');
  }
  await writeFile(join(root, 'membership'), membership);
  return { instance: 'abc', mount: join(root, 'mount'), membership: join(root, 'membership') };
}

test('cgroup version 1: the server creates groups only in hierarchies in which it is in the root group itself', async () => {
  await using data = await dataFolder();
  const options = await hierarchy(
    data.path,
    ['memory', 'pids', 'cpu'],
    '4:memory:/\n3:rdma,pids:/somebody/else\n2:cpu,cpuacct:/\n0::/\n',
  );
  const cgroups = new Cgroups(options);
  assert.deepEqual(cgroups.resources, ['cpu', 'memory']);
  const group = cgroups.create('web', 7, limits);
  const folder = join(options.mount, 'memory/toolforge-push-abc-tools/tool-7/web');
  const ofCpu = join(options.mount, 'cpu/toolforge-push-abc-tools/tool-7/web');
  assert.deepEqual(group.entrances, [join(ofCpu, 'cgroup.procs'), join(folder, 'cgroup.procs')]);
  const ofAllTools = join(options.mount, 'cpu/toolforge-push-abc-tools');
  const quotaUs = Number(await readFile(join(ofAllTools, 'cpu.cfs_quota_us'), 'utf8'));
  assert.equal(await readFile(join(ofAllTools, 'cpu.cfs_period_us'), 'utf8'), '20000');
  assert.equal(quotaUs, availableParallelism() * 19_000);
  assert.equal(await readFile(join(folder, 'memory.limit_in_bytes'), 'utf8'), '1024');
  assert.equal(await readFile(join(folder, 'memory.memsw.limit_in_bytes'), 'utf8'), '1024');
  assert.equal(group.isOutOfMemory(), false);
  await writeFile(join(folder, 'memory.oom_control'), 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n');
  assert.equal(group.isOutOfMemory(), true);
  assert.deepEqual(await readdir(join(options.mount, 'pids')), ['cgroup.procs']);
});

test('threat 106: cgroup version 2: the server uses a delegated folder, moves itself into a child group, and limits the process ids of a tool', async () => {
  await using data = await dataFolder();
  const options = await hierarchy(data.path, ['.', 'ours'], '0::/somebody/else\n');
  await writeFile(join(options.mount, 'cgroup.controllers'), 'memory pids\n');
  const delegated = join(options.mount, 'ours');
  await writeFile(join(delegated, 'cgroup.subtree_control'), 'memory pids\n');
  assert.deepEqual(new Cgroups(options).resources, [], 'another manager’s group was used');
  // The kernel keeps all enabled controllers; these plain files have only the last one.
  const cgroups = new Cgroups({ ...options, delegated });
  assert.deepEqual(cgroups.resources, ['pids']);
  assert.equal(await readFile(join(delegated, 'server/cgroup.procs'), 'utf8'), String(process.pid));
  cgroups.create('web', 7, limits);
  assert.equal(await readFile(join(delegated, 'toolforge-push-abc-tools/tool-7/web/pids.max'), 'utf8'), '18');
  const mostOfTool = async (number: number) =>
    await readFile(join(delegated, `toolforge-push-abc-tools/tool-${number}/pids.max`), 'utf8');
  const files = ['/proc/sys/kernel/pid_max', '/proc/sys/kernel/threads-max'];
  const most = Math.min(...(await Promise.all(files.map((file) => readFile(file, 'utf8')))).map(Number));
  assert.equal(await mostOfTool(7), String(Math.floor(most / 8)));
  await writeFile(join(delegated, 'pids.max'), '9600');
  cgroups.create('web', 8, limits);
  assert.equal(await mostOfTool(8), '1200');
});

test('threat 140: cgroup version 1: all commands of a tool together may have half of the machine’s memory, or as much as the largest limit of one of them if that is more', async () => {
  await using data = await dataFolder();
  const options = await hierarchy(data.path, ['memory'], '4:memory:/\n');
  const cgroups = new Cgroups(options);
  const tool = join(options.mount, 'memory/toolforge-push-abc-tools/tool-7');
  const mostAfter = async (memoryBytes: number) => {
    cgroups.create(String(memoryBytes), 7, { ...limits, memoryBytes });
    return Number(await readFile(join(tool, 'memory.limit_in_bytes'), 'utf8'));
  };
  const half = Math.floor(totalmem() / 2);
  assert.equal(await mostAfter(1024), half);
  assert.equal(await mostAfter(half + 5000), half + 5000);
  assert.equal(await mostAfter(2048), half + 5000);
  await rm(join(tool, String(half + 5000)), { recursive: true });
  assert.equal(await mostAfter(4096), half);
});

test('cgroup version 2: a killed command counts as ended by its tool’s memory limit only if its own control group was not out of memory', async () => {
  await using data = await dataFolder();
  const options = await hierarchy(data.path, ['.'], '0::/\n');
  await writeFile(join(options.mount, 'cgroup.controllers'), 'memory\n');
  await writeFile(join(options.mount, 'cgroup.subtree_control'), 'memory\n');
  const group = new Cgroups(options).create('web', 7, limits);
  const tool = join(options.mount, 'toolforge-push-abc-tools/tool-7');
  const tell = async (folder: string, oom: number) =>
    await writeFile(join(folder, 'memory.events.local'), `low 0\nmax 3\noom ${oom}\noom_kill 0\n`);
  await tell(tool, 2);
  assert.equal(group.isToolOutOfMemory(), false);
  await writeFile(join(tool, 'web/memory.events'), 'low 0\nmax 3\noom 0\noom_kill 1\n');
  assert.equal(group.isToolOutOfMemory(), true);
  await tell(join(tool, 'web'), 1);
  assert.equal(group.isToolOutOfMemory(), false);
});

test('a server that may not use control groups works without control groups, and nothing fails', async () => {
  await using data = await dataFolder();
  const cgroups = new Cgroups(await hierarchy(data.path, ['.'], ''));
  const group = cgroups.create('web', 7, limits);
  assert.deepEqual(group.entrances, []);
  assert.equal(group.isOutOfMemory(), false);
  await group.remove();
  await cgroups.removeLeftovers();
});
