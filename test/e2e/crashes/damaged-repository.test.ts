import assert from 'node:assert/strict';
import { appendFile, cp, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { removeTree } from '../../../src/core/disk/remove-tree.ts';
import { TestServer } from '../../support/server.ts';
import { liveTool, type WorkTree, webTool } from '../../support/work-tree.ts';

let server: TestServer;
let tree: WorkTree;
before(async () => {
  server = await TestServer.start();
  ({ tree } = await liveTool(server, 'kept'));
});
after(async () => server[Symbol.asyncDispose]());

const garbage = Buffer.from([0, 255, 1, 254, 10, 80, 75, 3, 4]);
const path = (name: string) => join(server.folder, 'data/repositories/kept.git', name);
const main = () => server.inRepository('kept', 'rev-parse', 'refs/heads/main');

const harms = [
  { what: 'HEAD', harm: () => writeFile(path('HEAD'), garbage) },
  { what: 'config', harm: () => writeFile(path('config'), garbage) },
  { what: 'refs/heads/main', harm: () => writeFile(path('refs/heads/main'), garbage) },
  {
    what: 'packed-refs',
    harm: async () => {
      await server.inRepository('kept', 'pack-refs', '--all', '--prune');
      await writeFile(path('packed-refs'), garbage);
    },
  },
  {
    what: 'the end of packed-refs',
    harm: async () => {
      await server.inRepository('kept', 'pack-refs', '--all', '--prune');
      await appendFile(path('packed-refs'), garbage);
    },
  },
];

for (const { what, harm } of harms) {
  for (const how of ['push', 'ls-remote'] as const) {
    test(`threat 87: if garbage gets into ${what} while the server runs, the command \`doctor\` names the file, and the next ${how} sets the file aside and succeeds`, async () => {
      const live = await main();
      const asides = await names();
      await harm();
      const file = what.split(' ').at(-1) ?? '';
      const doctor = await server.local('doctor');
      assert.match(doctor.stdout, new RegExp(`${file} in the repository of kept is torn`));
      if (how === 'ls-remote') {
        const listed = await tree.git('ls-remote', 'toolforge');
        assert.equal(listed.exitCode, 0, listed.stderr);
        assert.ok(listed.stdout.includes(`${live}\trefs/heads/main`), listed.stdout);
        assert.ok(listed.stdout.includes(`${live}\tHEAD`), listed.stdout);
      } else {
        const head = await tree.commit(what, webTool(what));
        const pushed = await tree.push();
        assert.equal(pushed.exitCode, 0, pushed.stderr);
        assert.equal(await main(), head);
      }
      assert.equal((await names()).length, asides.length + 1, 'nothing was set aside');
      assert.equal((await server.local('doctor')).exitCode, 0);
      const releases = await server.inRepository(
        'kept',
        'for-each-ref',
        '--format=%(refname)',
        'refs/releases',
      );
      const { stdout } = await server.command('releases', 'kept', '--json');
      assert.equal(releases.split('\n').length, JSON.parse(stdout).length);
    });
  }
}

test('threat 87: if garbage in a tag makes git refuse a push, the tag is set aside, and the next push goes live', async () => {
  await tree.git('tag', 'one');
  await tree.git('push', 'toolforge', 'refs/tags/one');
  const asides = await names();
  await writeFile(path('refs/tags/one'), garbage);
  const head = await tree.commit('a torn tag', webTool('a torn tag'));
  const refused = await tree.push();
  assert.match(refused.stderr, /! \[remote rejected\] main -> main/);
  const pushed = await tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal(await main(), head);
  assert.equal((await names()).length, asides.length + 1);
  const again = await tree.git('push', 'toolforge', 'refs/tags/one');
  assert.equal(again.exitCode, 0, again.stderr);
  assert.equal((await server.local('doctor')).exitCode, 0);
});

for (const isPacked of [false, true]) {
  test(`threat 87: a repository without the objects of its newest refs is set aside at the next start, and its history can be pushed again (${isPacked ? 'packed' : 'loose'} objects)`, async () => {
    if (isPacked) await server.inRepository('kept', 'repack', '-a', '-d', '-q');
    await server.kill('SIGTERM');
    await server.boot();
    assert.equal((await server.local('doctor')).exitCode, 0);
    await cp(path('objects'), join(server.folder, 'objects'), { recursive: true });
    await tree.commit('lost', webTool('lost'));
    const live = await tree.push();
    assert.equal(live.exitCode, 0, live.stderr);
    await server.kill('SIGTERM');
    // The objects are now older than the refs, as in a backup that was copied while the server ran.
    await removeTree(path('objects'));
    await rename(join(server.folder, 'objects'), path('objects'));
    const doctor = await server.local('doctor');
    assert.match(doctor.stdout, /The repository of kept .* has lost objects[\s\S]* push their history again/);
    const asides = await names();
    await server.boot();
    assert.ok((await names()).length > asides.length, 'nothing was set aside');
    const head = await tree.commit('again', webTool('again'));
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.equal(await main(), head);
    assert.equal((await server.local('doctor')).exitCode, 0);
  });
}

/** The paths of all files in `set-aside/`. */
async function names(): Promise<string[]> {
  const files = await readdir(join(server.folder, 'data/set-aside'), {
    recursive: true,
    withFileTypes: true,
  }).catch(() => []);
  return files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
}
