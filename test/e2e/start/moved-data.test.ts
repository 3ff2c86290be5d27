import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { TestServer, until } from '../../support/server.ts';
import { liveTool, webTool } from '../../support/work-tree.ts';

test('after the data folder was moved, the next start runs the live releases again, and a rollback to an older release works', async () => {
  await using server = await TestServer.start();
  const { name, tree } = await liveTool(server, 'wikibot');
  await tree.commit('two', webTool('two'));
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  await server.kill('SIGTERM');
  const moved = join(server.folder, 'moved');
  await rename(join(server.folder, 'data'), moved);
  server.change({ TOOLFORGE_PUSH_DATA: moved });
  await server.boot();
  await until(async () => (await server.get(name)).body === 'two', 'it serves two');
  const back = await server.command('rollback', name);
  assert.equal(back.exitCode, 0, back.stderr);
  assert.equal((await server.get(name)).body, 'one');
});
