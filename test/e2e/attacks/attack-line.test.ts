import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DirectoryFile } from '../../../src/auth/file/directory-yaml.ts';
import { TestServer, until } from '../../support/server.ts';
import { liveTool, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '4' });
});
after(async () => server[Symbol.asyncDispose]());

interface Row {
  readonly kind: string;
  readonly state: string;
  readonly reason: string | null;
}

/** The deployments of a tool, newest first. The operator asks, so the tool needs no maintainer. */
async function deployments(name: string): Promise<Row[]> {
  return JSON.parse((await server.local('deployments', name, '--json')).stdout) as Row[];
}

async function inState(name: string, kind: string, wanted: string): Promise<void> {
  const isThere = (row: Row) => row.kind === kind && row.state === wanted;
  await until(async () => (await deployments(name)).some(isThere), `a ${kind} that is ${wanted}`);
}

/** Makes a live tool, pushes a second commit with a slow build, and waits until the build runs. */
async function building(name: string) {
  const made = await liveTool(server, name);
  await made.tree.commit('two', webTool('two', 'sleep 5'));
  const running = made.tree.push();
  await inState(name, 'push', 'building');
  return { ...made, running };
}

describe('the line of waiting deployments', { concurrency: 4 }, () => {
  test('threat 8: a waiting push does not go live if its token is revoked', async () => {
    const { name, tree, running } = await building('line-token');
    const { stdout } = await server.command('token', 'create', name, 'ci');
    const secret = /^tfp_\S+/.exec(stdout)?.[0] ?? assert.fail(stdout);
    await tree.commit('three', webTool('three'));
    const remote = server.remote('http', name).replace(/\/\/[^@]*@/, `//ci:${secret}@`);
    const waiting = tree.git('push', remote, 'main');
    await inState(name, 'push', 'waiting');
    assert.equal((await server.command('token', 'revoke', name, 'ci')).exitCode, 0);
    assert.equal((await running).exitCode, 0);
    const { exitCode, stderr } = await waiting;
    assert.notEqual(exitCode, 0);
    assert.match(stderr, / ! +The token ci .* is no longer valid/);
    assert.match(stderr, /\[remote rejected\].*token ci .* is no longer valid.*; v2 is still live\)/);
    assert.equal((await deployments(name))[0]?.state, 'failed');
    assert.equal((await server.get(name)).body, 'two');
  });

  test('threat 8: if a tool is removed from directory.yaml, the waiting rollback of its maintainer fails, but the waiting restart of the operator succeeds', async () => {
    const { name, running } = await building('line-removed');
    const waiting = server.command('rollback', name, 'v1');
    await inState(name, 'rollback', 'waiting');
    const operator = server.local('restart', name);
    await inState(name, 'restart', 'waiting');
    await new DirectoryFile(join(server.folder, 'data/directory.yaml')).removeTool(name);
    assert.match((await running).stderr, /v2 is live/);
    const { exitCode, stdout, stderr } = await waiting;
    assert.notEqual(exitCode, 0);
    assert.match(stdout + stderr, /There is no tool line-removed that .* maintains/);
    const { exitCode: restarted, stderr: why } = await operator;
    assert.equal(restarted, 0, why);
    assert.equal((await server.get(name)).body, 'two');
  });
  test('promise 3: if a rollback waits behind a push, a second push of the same commit does not join the first, but goes live after the rollback', async () => {
    const { name, tree, first } = await liveTool(server, 'line-order');
    await tree.commit('two', webTool('two'));
    assert.equal((await tree.push()).exitCode, 0);
    const last = await tree.commit('three', webTool('three', 'sleep 5'));
    const running = tree.push();
    await inState(name, 'push', 'building');
    const rollback = server.command('rollback', name, 'v1');
    await inState(name, 'rollback', 'waiting');
    const again = tree.push();
    const ended = await Promise.all([running, rollback, again]);
    assert.deepEqual(
      ended.map(({ exitCode }) => exitCode),
      [0, 0, 0],
      JSON.stringify(ended),
    );
    assert.match(ended[2].stderr, /v5 is live/);
    assert.doesNotMatch(ended[2].stderr, /joined/);
    const refs = await server.inRepository(name, 'rev-parse', 'refs/heads/main', 'refs/releases/v4');
    assert.deepEqual(refs.split('\n'), [last, first]);
    assert.equal((await server.get(name)).body, 'three');
  });
});
