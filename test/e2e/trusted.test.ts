import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, TestServer } from '../support/server.ts';
import { WorkTree, webTool } from '../support/work-tree.ts';

const main = join(import.meta.dirname, '../../src/main.ts');

test('without isolation one trusted user deploys all the same, and a second one or an outside address does not start', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_SANDBOX: 'trusted' });
  const tree = await WorkTree.create(server, 'http', 'hello');
  await tree.commit('one', webTool('one'));
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal((await server.get('hello')).body, 'one');
  await tree.commit('two', webTool('two', 'exit 4'));
  assert.match((await tree.push()).stderr, /script exited 4; v1 is still live/);
  await server.kill('SIGKILL');
  await server.boot();

  await server.kill('SIGTERM');
  const outside = await run(process.execPath, [main], {
    env: { ...server.environment, TOOLFORGE_PUSH_SSH: '0.0.0.0:0' },
  });
  assert.equal(outside.exitCode, 1);
  assert.match(outside.stderr, /NEEDS_ISOLATION: 0\.0\.0\.0 can be reached/);
  assert.equal((await server.local('user', 'add', 'second')).exitCode, 0);
  const second = await run(process.execPath, [main], { env: server.environment });
  assert.equal(second.exitCode, 1);
  assert.match(second.stderr, /NEEDS_ISOLATION: There are 2 users/);
  assert.match(second.stderr, /apt-get install bubblewrap passt/);
});
