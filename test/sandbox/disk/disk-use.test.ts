import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { Misses, usesOf } from '../../../src/sandbox/disk/disk-use.ts';
import { HOLDING_FOLDER } from '../../support/programs/holding-folder.ts';
import { dataFolder, isRoot } from '../sandbox-bench.ts';

const PLAIN_USER = 65_534;

test('threat 60: a folder that a tool has set to mode 000 still counts towards its disk use, even if the server is not root', {
  skip: process.platform !== 'linux',
}, async () => {
  await using data = await dataFolder();
  const closed = join(data.path, 'home/closed');
  await mkdir(closed, { recursive: true });
  await writeFile(join(closed, 'file'), Buffer.alloc(5 * 1024 * 1024, 1));
  await chmod(closed, 0o000);
  if (isRoot) await execa('chown', ['-R', `${PLAIN_USER}:${PLAIN_USER}`, data.path]);
  const module = resolve(import.meta.dirname, '../../../src/sandbox/disk/disk-use.ts');
  const code = `
import { diskUse } from ${JSON.stringify(module)};
console.log(JSON.stringify(await diskUse(${JSON.stringify(join(data.path, 'home'))}, new AbortController().signal)));`;
  const user = ['--reuid', `${PLAIN_USER}`, '--regid', `${PLAIN_USER}`, '--clear-groups', '--'];
  const server = [process.execPath, '--input-type=module', '-e', code];
  const [program = '', ...argv] = isRoot ? ['setpriv', ...user, ...server] : server;
  const { stdout } = await execa(program, argv);
  await chmod(closed, 0o700);
  const { bytes, entries } = JSON.parse(stdout);
  assert.ok(bytes >= 5 * 1024 * 1024, stdout);
  assert.equal(entries, 3);
});

test('threat 152: the server ends a program if at least three more measurements of its folder have failed than succeeded, and the first of these failures was at least ten seconds ago', () => {
  let now = 1000;
  const misses = new Misses(() => now);
  const after = (seconds: number, isMissed: boolean) => {
    now += seconds * 1000;
    return misses.add(isMissed);
  };
  assert.deepEqual([after(0, true), after(1, true), after(1, true)], [false, false, false]);
  assert.equal(after(8, true), true);
  for (let hit = 0; hit < 4; hit += 1) after(1, false);
  assert.deepEqual(
    [after(60, true), after(60, false), after(60, true), after(60, true)],
    [false, false, false, false],
  );
  assert.equal(after(60, true), true);
});

test('threat 177: once the disk is nearly full, the measurement of a folder whose lock a process holds ends within seconds, and the other folders are measured', {
  skip: process.platform !== 'linux',
}, async () => {
  await using data = await dataFolder();
  const [held, other] = [join(data.path, 'held'), join(data.path, 'other')];
  for (const folder of [held, other]) await mkdir(folder);
  const holder = spawn('python3', ['-c', HOLDING_FOLDER, held], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(holder.stdout, 'data');
    const disk = new AbortController();
    setTimeout(() => disk.abort(), 1000);
    const startedAt = performance.now();
    const signals = { signal: new AbortController().signal, low: disk.signal };
    const { bytes } = await usesOf([held, other], 'bytes', signals);
    const seconds = (performance.now() - startedAt) / 1000;
    assert.deepEqual([...(bytes?.keys() ?? [])], [other]);
    assert.ok(seconds < 15, `measured in ${seconds} s`);
  } finally {
    holder.kill('SIGKILL');
    await once(holder, 'exit');
  }
});
