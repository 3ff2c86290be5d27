import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestServer } from '../support/server.ts';
import { liveTool } from '../support/work-tree.ts';

test('a server that starts with the umask 077 can build and run a tool', async () => {
  process.umask(0o077);
  await using server = await TestServer.start();
  await liveTool(server, 'wikibot');
  assert.equal((await server.get('wikibot')).status, 200);
});
