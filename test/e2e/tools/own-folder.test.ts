import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { noOverlay } from '../../support/overlay.ts';
import { TestServer } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';
import { pushFixture } from './push-fixture.ts';

const withPhp = ['/usr/bin/php', '/usr/bin/composer', '/usr/sbin/apache2'].every((path) => existsSync(path));

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => server[Symbol.asyncDispose]());

test('a tool can change files in its folder, such as a database and a log; after a restart, the folder has the files of the build again', {
  skip: noOverlay,
}, async () => {
  const tool = 'python-own-folder';
  const { first: pushed } = await pushFixture(server, tool);
  assert.match(
    pushed,
    /The release command wrote in \/workspace \(staticfiles\)\. .* every process starts with the files of the build\./,
  );
  const ask = async () => (await server.get(tool, '/visit')).body;
  assert.equal(await ask(), 'visits 1, counter 11, prepared False\n');
  assert.equal(await ask(), 'visits 2, counter 12, prepared False\n');
  const seen = await server.command('run', tool, `sh -c 'cat state/counter.txt; ls'`);
  assert.equal(seen.stdout, '10\nLICENSE\nNOTES.md\nProcfile\napp.py\nprepare.py\nstate', seen.stderr);
  await server.command('restart', tool);
  assert.equal(await ask(), 'visits 1, counter 11, prepared False\n');
});

test('a PHP tool can write compiled templates, a cache and a log in its folder storage', {
  skip: noOverlay || (!withPhp && 'needs PHP, Composer and Apache: bash test/setup.sh installs them'),
}, async () => {
  const tool = 'php-storage';
  await pushFixture(server, tool);
  const year = new Date().getFullYear();
  const ask = async () => (await server.get(tool, '/visit')).body;
  assert.equal(await ask(), `compiled ${year}, visit 1, log of 1 lines\n`);
  assert.equal(await ask(), `compiled ${year}, visit 2, log of 2 lines\n`);
  assert.equal((await server.command('run', tool, 'cache')).stdout, 'config.php in /workspace');
  assert.equal(await ask(), `compiled ${year}, visit 3, log of 3 lines\n`);
});

test('if the server cannot make overlays, its log says why at the start, and a push says why a tool could not write to its folder', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'with,comma-'));
  await chmod(folder, 0o711);
  try {
    await using other = await TestServer.start({ TOOLFORGE_PUSH_DATA: join(folder, 'data') });
    const line = other.lines.find(({ msg }) => msg.startsWith('tools cannot write to the folders of their'));
    assert.match(String(line?.['reason']), /^the path of the data folder has a comma/);
    const tree = await WorkTree.create(other, 'http', 'hello');
    const files = webTool('one');
    await tree.commit('one', { ...files, 'server.py': `open('cache.txt', 'w')\n${files['server.py']}` });
    const { exitCode, stderr } = await tree.push();
    assert.equal(exitCode, 1, stderr);
    assert.match(stderr, /Read-only file system: 'cache\.txt'/);
    assert.match(
      stderr,
      /On this server, a running tool cannot write to \/workspace, the folder of its release\. It/,
    );
  } finally {
    await removeTree(folder);
  }
});
