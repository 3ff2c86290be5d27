import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { restoreBackup } from '../../src/recovery/archive/restore-backup.ts';
import { removeTree } from '../../src/sandbox/disk/remove-tree.ts';
import { TestServer, until } from '../support/server.ts';
import { liveTool, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

test('a backup that was made in the middle of a push restores to the release that was live then, in another folder and after the data folder was wiped', async () => {
  const { name, tree, first } = await liveTool(server, 'kept', webTool('one'));
  const set = await server.command('config', 'set', name, 'SECRET=s3cret');
  assert.equal(set.exitCode, 0, set.stderr);
  await tree.commit('two', webTool('two', 'sleep 90'));
  const pushing = tree.push();
  await until(async () => (await server.command('ps', name)).stdout.includes('is building'), 'a build');
  const file = join(server.folder, 'all.tar');
  const made = await server.local('backup', file);
  assert.equal(made.exitCode, 0, made.stderr);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal((await server.command('cancel', name)).exitCode, 0);
  assert.equal((await pushing).exitCode, 1);
  await tree.commit('three', webTool('three'));
  assert.equal((await tree.push()).exitCode, 0);
  assert.equal((await server.get(name)).body, 'three');

  const restore = (from: string) => restoreBackup(readConfig(server.environment), from);
  await assert.rejects(restore(file), { code: 'DATA_IN_USE' });
  await server.kill('SIGTERM');
  await assert.rejects(restore(file), { code: 'NOT_EMPTY' });
  await removeTree(join(server.folder, 'data'));
  await removeTree(join(server.folder, 'keys'));
  const bytes = await readFile(file);
  const changed = Buffer.from(bytes);
  changed[5000] = (changed[5000] ?? 0) ^ 1;
  const bad = join(server.folder, 'bad.tar');
  for (const [content, says] of [
    [bytes.subarray(0, -700), /its end is missing/],
    [Buffer.concat([bytes.subarray(0, 4096), bytes.subarray(-512)]), /it has 4096 bytes instead of/],
    [changed, /its checksum differs/],
    [Buffer.alloc(20_480), /it is no archive of toolforge-push/],
  ] as const) {
    await writeFile(bad, content);
    await assert.rejects(restore(bad), { code: 'BAD_ARCHIVE', message: says });
  }
  assert.equal(existsSync(join(server.folder, 'data')), false);

  server.change({
    TOOLFORGE_PUSH_DATA: join(server.folder, 'elsewhere/data'),
    TOOLFORGE_PUSH_KEYS: join(server.folder, 'elsewhere/keys'),
  });
  const restored = await server.local('restore', file);
  assert.equal(restored.exitCode, 0, restored.stderr);
  assert.match(restored.stdout, /deploy tokens that were revoked are VALID AGAIN/);
  const whole = await server.local('doctor');
  assert.equal(whole.exitCode, 0, whole.stdout);
  await server.boot();
  await until(async () => (await server.get(name)).body === 'one', 'up again');
  const folder = join(server.folder, 'elsewhere/data/repositories', `${name}.git`);
  const { stdout } = await tree.git('--git-dir', folder, 'rev-parse', 'refs/heads/main', 'refs/releases/v1');
  assert.deepEqual(stdout.split('\n'), [first, first]);
  const vars = await server.command('config', 'get', name, 'SECRET');
  assert.match(vars.stdout, /s3cret/);
  assert.match((await server.command('deployments', name)).stdout, /interrupted/);
  const again = await tree.push();
  assert.equal(again.exitCode, 0, again.stderr);
  assert.equal((await server.get(name)).body, 'three');
  assert.equal((await server.command('rollback', name)).exitCode, 0);
  await until(async () => (await server.get(name)).body === 'one', 'the rollback');
});
