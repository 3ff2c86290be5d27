import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestServer } from '../../support/server.ts';
import { SmallDisk } from '../../support/small-disk.ts';
import { liveTool, WorkTree, webTool } from '../../support/work-tree.ts';

test('threat 82: if the power fails after a push was answered with ok, its tags are there after the next start, or stay deleted', {
  skip: SmallDisk.whyNot,
}, async () => {
  using disk = new SmallDisk({ mebibytes: 600, entries: 60_000 });
  const { TMPDIR } = process.env;
  process.env['TMPDIR'] = disk.folder;
  await using server = await TestServer.start();
  if (TMPDIR === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = TMPDIR;
  const { tree } = await liveTool(server, 'wikibot');
  const failPower = async () => {
    disk.losePower();
    await server.kill();
    disk.startAgain();
    await server.boot();
    const refs = await server.inRepository(
      'wikibot',
      'for-each-ref',
      '--format=%(refname:lstrip=2)',
      'refs/tags',
    );
    return refs.split('\n').filter(Boolean);
  };

  await tree.git('tag', '--annotate', '--message=one', 'of/one');
  assert.equal((await tree.git('push', 'toolforge', 'of/one')).exitCode, 0);
  assert.deepEqual(await failPower(), ['of/one']);
  assert.equal(await server.inRepository('wikibot', 'cat-file', '-t', 'of/one'), 'tag');

  // The clone of the developer was on the same disk, so it may be damaged.
  const other = await WorkTree.create(server, 'ssh', 'wikibot');
  await other.commit('two', webTool('two'));
  await other.git('tag', 'with/main');
  const pushed = await other.git('push', '--atomic', '--force', 'toolforge', 'main', 'with/main');
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.deepEqual(await failPower(), ['of/one', 'with/main']);

  const third = await WorkTree.create(server, 'ssh', 'wikibot');
  await server.inRepository('wikibot', 'pack-refs', '--all');
  assert.equal((await third.git('push', 'toolforge', ':of/one', ':with/main')).exitCode, 0);
  assert.deepEqual(await failPower(), []);
});
