import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { execa } from 'execa';
import type { ToolName } from '../../../src/core/names.ts';
import { RefTransaction } from '../../../src/git/refs/ref-transaction.ts';
import { Repositories } from '../../../src/git/repositories.ts';
import { TestServer, until } from '../../support/server.ts';
import { type Files, WorkTree, webTool } from '../../support/work-tree.ts';

const isRoot = process.getuid?.() === 0;

async function liveTool(server: TestServer, name: string, files: Files = webTool('one')): Promise<WorkTree> {
  await server.addTool(name);
  const tree = await WorkTree.create(server, 'ssh', name);
  await tree.commit('one', files);
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  return tree;
}

async function inState(server: TestServer, name: string, wanted: string): Promise<void> {
  await until(
    async () => (await server.command('deployments', name, '--json')).stdout.includes(`"${wanted}"`),
    wanted,
  );
}

/** Throws if the server has ended. */
const assertAlive = (server: TestServer) => assert.ok(process.kill(server.pid, 0), server.told);

async function assertDeploys(server: TestServer, name: string, tree: WorkTree, text: string): Promise<void> {
  await tree.commit(text, webTool(text));
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal((await server.get(name)).body, text);
}

/** Fills the disk that has `folder`. @returns the file that takes the space. */
async function fill(folder: string): Promise<string> {
  const file = join(folder, 'filler');
  for (const size of ['64k', '512'])
    await execa('dd', ['if=/dev/zero', `of=${file}`, `bs=${size}`, 'oflag=append', 'conv=notrunc'], {
      reject: false,
    });
  return file;
}

describe('faults of the machine', { concurrency: 3 }, () => {
  test('threat 83: while the disk is full, pushes are rejected, but the server and the live tool continue; with free space, pushes go live again', {
    skip: !isRoot,
  }, async () => {
    const server = await TestServer.start();
    const data = join(server.folder, 'data');
    await server.kill('SIGTERM');
    await rename(data, `${data}.old`);
    await mkdir(data);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=40m,mode=0711', 'none', data]);
    try {
      await execa('cp', ['-a', `${data}.old/.`, data]);
      await server.boot();
      const tree = await liveTool(server, 'full');
      for (const at of ['before', 'building', 'rolling-out']) {
        const files = webTool(
          at,
          at === 'building' ? 'sleep 2; for i in 1 2 3; do echo $i; sleep 0.2; done' : 'true',
        );
        const slow = { 'server.py': `import time\ntime.sleep(3)\n${files['server.py']}` };
        await tree.commit(at, { ...files, ...(at === 'rolling-out' ? slow : {}) });
        if (at === 'before') await fill(data);
        const pushing = tree.push();
        if (at !== 'before') {
          await inState(server, 'full', at);
          await fill(data);
        }
        const pushed = await pushing;
        assert.notEqual(pushed.exitCode, 0, at);
        assert.match(pushed.stderr, /\[remote rejected\] main -> main/, at);
        assertAlive(server);
        assert.equal((await server.get('full')).body, 'one', at);
        await rm(join(data, 'filler'));
      }
      await assertDeploys(server, 'full', tree, 'room again');
    } finally {
      await server.kill('SIGTERM');
      await execa('umount', ['-l', data]);
      await server[Symbol.asyncDispose]();
    }
  });

  test('threat 83: if the store is locked and cannot be written, a push is rejected, but the server and the live release continue', async () => {
    await using server = await TestServer.start();
    const tree = await liveTool(server, 'locked');
    await tree.commit('two', webTool('two', 'sleep 1'));
    const pushing = tree.push();
    await inState(server, 'locked', 'building');
    const other = new DatabaseSync(join(server.folder, 'data/store.sqlite'));
    other.exec('BEGIN IMMEDIATE');
    const pushed = await pushing;
    other.exec('ROLLBACK');
    other.close();
    assert.notEqual(pushed.exitCode, 0);
    assert.match(
      pushed.stderr,
      /\[remote rejected\] main -> main \(another program has locked the store, .*; v1 is still live\)/,
    );
    assertAlive(server);
    assert.equal((await server.get('locked')).body, 'one');
    await assertDeploys(server, 'locked', tree, 'three');
  });

  test('threat 59: if git’s hook cannot reach the server, the push is rejected with this reason, and nothing is deployed', async () => {
    await using server = await TestServer.start();
    const tree = await liveTool(server, 'unhooked');
    // Without the server's socket, git's hook fails at once. The file keeps the server from making the socket again.
    const socket = join(server.folder, 'data/run/server.sock');
    await rm(socket);
    await writeFile(socket, '');
    await tree.commit('two', webTool('two'));
    const pushed = await tree.push();
    assert.notEqual(pushed.exitCode, 0);
    assert.match(pushed.stderr, /\[remote rejected\] main -> main \(the deployment did not start/);
    assert.equal((await server.get('unhooked')).body, 'one');
  });

  test('threat 83: if git disappears from the machine during a build, the push is rejected, the server continues, and pushes work when git is back', async () => {
    const bin = await mkdtempAt();
    const git = join(bin, 'git');
    await writeFile(git, '#!/bin/sh\nexec /usr/bin/git "$@"\n');
    await chmod(git, 0o755);
    await using server = await TestServer.start({ PATH: bin });
    const tree = await liveTool(server, 'gone');
    await tree.commit('two', webTool('two', 'sleep 1'));
    const pushing = tree.push();
    await inState(server, 'gone', 'building');
    await rename(git, `${git}.away`);
    const pushed = await pushing;
    await rename(`${git}.away`, git);
    assert.match(
      pushed.stderr,
      /\[remote rejected\] main -> main \(the server failed .*; v1 is still live\)/,
    );
    assertAlive(server);
    await assertDeploys(server, 'gone', tree, 'three');
    await rm(bin, { recursive: true });
  });

  test('threat 83: a ref transaction fails with ENOENT if git is missing', async () => {
    const folder = await mkdtempAt();
    const tool = 'none' as ToolName;
    const repositories = new Repositories({ folder, path: folder, deployBranch: 'main' });
    await mkdir(repositories.folder(tool));
    await assert.rejects(RefTransaction.prepare(repositories, tool, []), /ENOENT/);
    await rm(folder, { recursive: true });
  });

  test('threat 82: the server starts again although a crash, an operator and a tool left unexpected files and folders behind', async () => {
    await using server = await TestServer.start();
    const data = join(server.folder, 'data');
    const deep =
      'import os\nos.chdir("/tmp")\nfor i in range(1000):\n    os.mkdir("d" * 20); os.chdir("d" * 20)\n';
    const files = webTool('one');
    const tree = await liveTool(server, 'left', {
      ...files,
      'server.py': `${deep}os.mkdir("/tmp/shut", 0)\nos.chdir("/workspace")\n${files['server.py']}`,
    });
    await tree.commit('two', webTool('two', 'sleep 20'));
    const pushing = tree.push();
    await inState(server, 'left', 'building');
    await server.kill('SIGKILL');
    assert.notEqual((await pushing).exitCode, 0);
    // As if the server was killed after it recorded a deployment and before it made the deployment's log. Repositories
    // on a disk of their own have a folder lost+found.
    await rm(join(data, 'deployments/left'), { recursive: true });
    await mkdir(join(data, 'repositories/lost+found'));
    await writeFile(join(data, 'repositories/note'), 'of an operator');
    await server.boot();
    await until(async () => (await server.get('left')).body === 'one', 'it serves again');
    await assertDeploys(server, 'left', tree, 'three');
  });

  test('threat 20: of 60 simultaneous restarts of a tool whose push is building, 20 wait and 40 are refused', async () => {
    await using server = await TestServer.start();
    const tree = await liveTool(server, 'flood');
    await tree.commit('slow', webTool('slow', 'sleep 60'));
    const pushing = tree.push();
    await inState(server, 'flood', 'building');
    const authorization = `Basic ${Buffer.from(`${server.user}:${server.password}`).toString('base64')}`;
    const leaving = new AbortController();
    const ask = async (body: string) => {
      const { signal } = leaving;
      const options = { method: 'POST', headers: { authorization }, body, signal };
      const response = await fetch(`http://${server.http}/-/command`, options);
      return response.status === 200 ? '' : response.text();
    };
    // Without this login, only 50 of the 60 logins below could wait. Later logins of the same person do not count for
    // this limit.
    assert.equal(await ask('tools'), '');
    const asked = Array.from({ length: 60 }, () => ask('restart flood'));
    let refused = 0;
    const answered = asked.map(async (answer) => {
      if ((await answer.catch(() => '')).includes('are waiting already')) refused += 1;
    });
    await until(async () => {
      const waiting = (await server.command('deployments', 'flood', '-n', '100', '--json')).stdout;
      return (waiting.match(/"waiting"/g)?.length ?? 0) === 20;
    }, '20 wait');
    await until(async () => refused === 40, '40 are refused');
    const files = await readdir(`/proc/${server.pid}/fd`);
    assert.ok(files.length < 200, `${files.length} open files`);
    assert.equal((await server.command('cancel', 'flood')).exitCode, 0);
    leaving.abort();
    await pushing;
    await Promise.all(answered);
  });
});

async function mkdtempAt(): Promise<string> {
  const folder = join(tmpdir(), `attack-${process.pid}-${Math.random().toString(36).slice(2)}`);
  await mkdir(folder);
  return folder;
}
