import assert from 'node:assert/strict';
import { statfsSync } from 'node:fs';
import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { TestServer, until } from '../../support/server.ts';
import { SmallDisk } from '../../support/small-disk.ts';
import { liveTool, WorkTree, webTool } from '../../support/work-tree.ts';

const ENTRIES = 98_000;
/** A Python program that makes empty files without end, as fast as it can. */
const CROWDING = `import os, itertools, tempfile
for folder in itertools.count():
    path = f'{tempfile.gettempdir()}/{folder}'
    os.mkdir(path)
    for number in range(1000): open(f'{path}/{number}', 'wb').close()
`;
const SERVING = webTool('one')['server.py'] ?? '';

describe('threat 83: a disk with few inodes', { skip: SmallDisk.whyNot, concurrency: 1 }, () => {
  let disk: SmallDisk;
  let server: TestServer;
  let neighbour: Awaited<ReturnType<typeof liveTool>>;
  before(async () => {
    disk = new SmallDisk({ mebibytes: 1500, entries: ENTRIES });
    const { TMPDIR } = process.env;
    process.env['TMPDIR'] = disk.folder;
    server = await TestServer.start();
    if (TMPDIR === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = TMPDIR;
    neighbour = await liveTool(server, 'neighbour');
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    disk[Symbol.dispose]();
  });
  const free = () => statfsSync(disk.folder).ffree;
  const health = async (path: string) => {
    // A connection that is kept alive could still lead to the server that ran before a restart.
    const answer = await fetch(`http://${server.http}${path}`, { headers: { connection: 'close' } });
    return [answer.status, await answer.text()];
  };

  /** The smallest number of free inodes during `work`. */
  async function leastFree(work: Promise<unknown>): Promise<number> {
    let least = free();
    const timer = setInterval(() => {
      least = Math.min(least, free());
    }, 20);
    await work.finally(() => clearInterval(timer));
    return least;
  }

  const pushes = async () => {
    await neighbour.tree.commit('again', { again: String(performance.now()) });
    const pushed = await neighbour.tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
  };

  test('the server ends a process that makes endless empty files before the disk lacks inodes for pushes of other tools', async () => {
    const said =
      /web\.1 was ended because the processes of this tool made more than \d+ files and folders together/;
    await liveTool(server, 'crowd', {
      ...webTool('one'),
      'crowd.py': CROWDING,
      'server.py': `import subprocess, sys, threading
threading.Timer(2, lambda: subprocess.run([sys.executable, 'crowd.py'])).start()
${SERVING}`,
    });
    const ended = until(async () => said.test((await server.command('logs', 'crowd')).stdout), 'the end');
    const least = await leastFree(ended);
    assert.ok(least > 20_000, `${least} files were left`);
    await pushes();
    await server.command('stop', 'crowd');
  });

  test('if five processes, each below run_files, together exceed the limit of their tool, the server ends one process, and pushes of other tools still go live', async () => {
    const types = ['a', 'b', 'c', 'd', 'e'].map((name) => `${name}: python3 worker.py`);
    await liveTool(server, 'crowds', {
      ...webTool('one'),
      Procfile: `web: python3 server.py\n${types.join('\n')}\n`,
      'app.json': '{"formation": {"a": {}, "b": {}, "c": {}, "d": {}, "e": {}}}',
      'worker.py': `import time\ntime.sleep(3)\n${CROWDING.replace('itertools.count()', 'range(22)')}time.sleep(600)\n`,
    });
    const said = /was ended because the processes of this tool made more than \d+ files and folders together/;
    const ended = until(async () => said.test((await server.command('logs', 'crowds')).stdout), 'the end');
    const least = await leastFree(ended);
    await server.command('stop', 'crowds');
    await until(async () => free() > 50_000, 'the files are deleted');
    assert.ok(least > 10_000, `${least} files were left`);
    await pushes();
  });

  test('the server ends a build that makes endless empty files, and deletes these files; the push names the reason', async () => {
    await server.addTool('builder');
    const tree = await WorkTree.create(server, 'ssh', 'builder');
    await tree.commit('one', { ...webTool('one', 'python3 crowd.py'), 'crowd.py': CROWDING });
    const before = free();
    const pushing = tree.push();
    assert.ok((await leastFree(pushing)) > 0, 'the disk was full');
    const { exitCode, stderr } = await pushing;
    assert.notEqual(exitCode, 0);
    assert.match(
      stderr,
      /the build made more than its limit of \d+ files and folders \(build_files\)\. Most of them are in: \/tmp \(\d+ files\)/,
    );
    assert.ok(free() > before - 1000);
    await pushes();
  });

  test('while fewer inodes than the reserve are left, every deployment is refused, live tools and `ps` work, and /healthz answers 503 with the reason', async () => {
    assert.deepEqual(await health('/healthz'), [200, 'ok\n']);
    const toldBefore = server.lines.length;
    const filling = join(disk.folder, 'filling');
    await mkdir(filling);
    // The server's reserve is a twentieth of all inodes.
    for (let number = 0; free() > ENTRIES / 50; number++)
      await (await open(join(filling, `${number}`), 'w')).close();
    const live = (await neighbour.tree.git('ls-remote', 'toolforge', 'main')).stdout;
    assert.match(live, /^[0-9a-f]{40}/);
    await neighbour.tree.commit('refused', { refused: 'yes' });
    for (const push of [
      ['toolforge', 'main'],
      ['toolforge', 'HEAD:refs/heads/side'],
      [server.remote('http', 'neighbour'), 'main'],
    ]) {
      const pushed = await neighbour.tree.push(...push);
      assert.notEqual(pushed.exitCode, 0);
      assert.match(
        pushed.stderr,
        /the disk of this server is nearly full \(room for \d+ files left\); tell the operators, and push again later/,
      );
    }
    assert.equal((await neighbour.tree.git('ls-remote', 'toolforge', 'main')).stdout, live);
    assert.equal((await server.get('neighbour')).body, 'one');
    const redeploy = await server.command('redeploy', 'neighbour');
    assert.notEqual(redeploy.exitCode, 0);
    assert.match(redeploy.stderr + redeploy.stdout, /disk of this server is nearly full/);
    for (const words of [
      ['config', 'set', 'neighbour', 'KEY=value'],
      ['rollback', 'neighbour', 'v1'],
    ]) {
      const { exitCode, stderr } = await server.command(...words);
      assert.equal(exitCode, 1);
      assert.match(stderr, /The disk of this server is nearly full \(room for \d+ files left\)\./);
    }
    assert.equal((await server.command('ps', 'neighbour')).exitCode, 0);
    const [status, why] = await health('/healthz');
    assert.equal(status, 503);
    assert.match(String(why), /^the disk of this server is nearly full \(room for \d+ files left\)\n$/);
    assert.deepEqual(await health('/readyz'), [200, 'ok\n']);
    assert.deepEqual(await health('/livez'), [200, 'ok\n']);
    const told = () => server.lines.slice(toldBefore).filter(({ msg }) => msg === 'server not well');
    await until(async () => told().length > 0, 'the log reports it');
    await rm(filling, { recursive: true });
    await pushes();
    assert.deepEqual(await health('/healthz'), [200, 'ok\n']);
    await until(
      async () => server.lines.some(({ msg }) => msg === 'server well again'),
      'the log reports it',
    );
    assert.equal(told().length, 1);
  });

  test('if less disk space than the reserve is left, a push is refused, and the message names the space that is left', async () => {
    const filling = await open(join(disk.folder, 'filling'), 'w');
    const { bavail, bsize } = statfsSync(disk.folder);
    for (let left = bavail * bsize; left > 40_000_000; left -= 10_000_000)
      await filling.write(Buffer.alloc(10_000_000, 1));
    await filling.close();
    await neighbour.tree.commit('refused', { refused: 'again' });
    const pushed = await neighbour.tree.push();
    assert.notEqual(pushed.exitCode, 0);
    assert.match(pushed.stderr, /the disk of this server is nearly full \(\d+ MiB left\)/);
    await rm(join(disk.folder, 'filling'));
    await pushes();
  });

  test('threat 83: if the store is damaged while the server runs, /readyz fails with the reason, and /livez still answers ok', async () => {
    await server.kill('SIGTERM');
    await server.boot();
    const path = join(server.folder, 'data/store.sqlite');
    // SQLite reads pages from the write-ahead log first, so the damage has no effect before the log is empty.
    const store = new DatabaseSync(path);
    store.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    store.close();
    await writeFile(path, 'not the beginning of a database');
    const damaged = await until(
      async () => {
        const [status, why] = await health('/readyz').catch(() => [0, '']);
        return status === 503 && why;
      },
      'the health',
      240_000,
    );
    assert.equal(damaged, 'the store is damaged or is not a store\n');
    assert.deepEqual(await health('/livez'), [200, 'ok\n']);
  });
});
