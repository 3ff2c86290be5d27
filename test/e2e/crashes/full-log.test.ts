import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TestServer, until } from '../../support/server.ts';
import { SmallDisk } from '../../support/small-disk.ts';
import { liveTool } from '../../support/work-tree.ts';

test('threat 260: while the disk of the server’s log is full, tools, pushes and commands go on, and a signal ends the server cleanly', {
  skip: SmallDisk.whyNot,
}, async () => {
  await using server = await TestServer.start();
  const { tree, name } = await liveTool(server, 'victim');
  await server.kill('SIGTERM');
  using disk = new SmallDisk({ mebibytes: 8, entries: 100 });
  const log = openSync(join(disk.folder, 'log'), 'a');
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../../src/main.ts')], {
    env: server.environment,
    stdio: ['ignore', log, 'ignore'],
  });
  closeSync(log);
  const exited = once(child, 'exit');
  try {
    await until(async () => (await server.get(name).catch(() => null))?.status === 200, 'the page', 30_000);
    const filler = join(disk.folder, 'filler');
    assert.throws(() => writeFileSync(filler, Buffer.alloc(16 << 20)), { code: 'ENOSPC' });
    for (let count = 0; count < 12; count += 1) {
      const set = await server.command('config', 'set', name, `COUNT=${count}`);
      assert.equal(set.exitCode, 0, set.stderr);
    }
    await tree.commit('another', { 'change.txt': 'another' });
    assert.equal((await tree.push()).exitCode, 0);
    assert.equal((await server.get(name)).status, 200);
  } finally {
    child.kill('SIGHUP');
  }
  assert.deepEqual(await exited, [0, null]);
});
