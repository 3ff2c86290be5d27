import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { readConfig } from '../../src/config.ts';
import { namesIn } from '../../src/core/disk/names-in.ts';
import { removeTree } from '../../src/core/disk/remove-tree.ts';
import { restoreBackup } from '../../src/recovery/archive/restore-backup.ts';
import { readDataFacts } from '../../src/recovery/data-facts.ts';
import { examine } from '../../src/recovery/examine.ts';
import { TestServer, until } from '../support/server.ts';
import { liveTool, webTool } from '../support/work-tree.ts';

const bin = join(import.meta.dirname, '../../src/cli/bin.ts');
const killer = join(import.meta.dirname, 'killed-restore.ts');

let server: TestServer;
let backup: string;
let data: string;
let keys: string;
let secretsKey: Buffer;
before(async () => {
  server = await TestServer.start();
  await liveTool(server, 'good', webTool('good'));
  [data, keys] = [join(server.folder, 'data'), join(server.folder, 'keys')];
  secretsKey = await readFile(join(keys, 'secrets.key'));
  backup = join(server.folder, 'all.tar');
  const made = await server.local('backup', backup);
  assert.equal(made.exitCode, 0, made.stderr);
  await server.kill('SIGTERM');
});
after(async () => server[Symbol.asyncDispose]());

/** Runs `restore` without data and keys, and lets it kill itself. @returns its signal, or undefined if it finished. */
async function killedAt(moment: { KILL_AT: string } | { KILL_WHEN: string }): Promise<string | undefined> {
  await removeTree(data);
  await removeTree(keys);
  const { signal, exitCode, stderr } = await execa(
    process.execPath,
    ['--import', killer, bin, 'restore', backup],
    { env: { ...server.environment, ...moment }, extendEnv: false, reject: false },
  );
  if (signal === undefined) assert.equal(exitCode, 0, stderr);
  return signal;
}

async function findings() {
  return examine(await readDataFacts(readConfig(server.environment)));
}

test('threat 252: if `restore` is killed at any moment between its first and its last change, `doctor` says that the restore has not finished, and the same `restore` finishes it', async () => {
  let refused = 0;
  for (let call = 1; (await killedAt({ KILL_AT: `${call}` })) === 'SIGKILL'; call++) {
    const there = (await namesIn(data)).join(' ');
    const isBegun = /restor/.test(there);
    const isOver = !isBegun && existsSync(join(data, 'store.sqlite'));
    const found = await findings();
    if (isBegun) {
      refused++;
      assert.match(
        found.map(({ kind, what }) => `${kind} ${what}`).join(),
        /^refuses a restore .* not finished$/,
        there,
      );
    } else assert.deepEqual(found, [], there);
    if (isOver) continue;
    const told = await restoreBackup(readConfig(server.environment), backup);
    assert.match(told.join(), /^Restored 1 tool from/, there);
    assert.deepEqual(await findings(), [], there);
    assert.doesNotMatch((await readdir(data)).join(' '), /restor/, there);
    assert.deepEqual(await readFile(join(keys, 'secrets.key')), secretsKey);
    assert.deepEqual(await readdir(join(data, 'repositories')), ['good.git']);
  }
  assert.ok(refused > 10, `${refused}`);
});

test('threat 252: after an interrupted `restore` the server refuses to start, makes nothing, and starts with the restored tools when the same command has finished', async () => {
  for (const reached of ['restoring/store.sqlite', 'directory.yaml']) {
    assert.equal(await killedAt({ KILL_WHEN: join(data, reached) }), 'SIGKILL');
    const names = async () => (await readdir(data)).filter((name) => name !== 'compile-cache');
    const before = await names();
    server.told = '';
    await assert.rejects(server.boot(), /DATA_DISAGREES: A restore of a backup .* has not finished/);
    assert.match(server.told, /type it again with the same file: npx toolforge-push restore FILE/);
    assert.deepEqual(await names(), before);
    const doctor = await server.local('doctor');
    assert.deepEqual([doctor.exitCode, /has not finished/.test(doctor.stdout)], [1, true], doctor.stdout);
    const key = join(server.folder, 'home/.ssh/id_ed25519.pub');
    const added = await server.local('user', 'add', 'bob', '--key', key);
    // There is no user directory yet, and the command must not make one.
    if (reached !== 'directory.yaml') assert.equal(added.exitCode, 1, added.stdout);
    const again = await server.local('restore', backup);
    assert.equal(again.exitCode, 0, again.stderr);
    await server.boot();
    await until(async () => (await server.get('good')).body === 'good', 'up again');
    await server.kill('SIGTERM');
  }
});

test('threat 252: the restore of another backup is refused while a restore has not finished', async () => {
  const other = join(server.folder, 'other.tar');
  const made = await server.local('backup', other);
  assert.equal(made.exitCode, 0, made.stderr);
  assert.equal(await killedAt({ KILL_WHEN: join(data, 'repositories') }), 'SIGKILL');
  const refused = await server.local('restore', other);
  assert.equal(refused.exitCode, 1);
  assert.match(refused.stderr, /the restore of the backup of .* has not finished/i);
  assert.equal((await server.local('restore', backup)).exitCode, 0);
});
