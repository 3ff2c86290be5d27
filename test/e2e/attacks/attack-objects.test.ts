import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { rawPush } from '../../support/attack-push.ts';
import { TestServer, until } from '../../support/server.ts';
import { liveTool, WorkTree, webTool } from '../../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({ TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '4' });
});
after(async () => server[Symbol.asyncDispose]());

const main = (name: string) => server.inRepository(name, 'rev-parse', 'refs/heads/main');

/** Writes a tree with exactly these entries, even if git would refuse them. @returns the id of the tree. */
async function rawTree(tree: WorkTree, entries: readonly [mode: string, name: string, id: string][]) {
  const parts = entries.flatMap(([mode, name, id]) => [
    Buffer.from(`${mode} ${name}\0`),
    Buffer.from(id, 'hex'),
  ]);
  const args = ['hash-object', '-w', '-t', 'tree', '--stdin', '--literally'];
  return (await execa('git', args, { cwd: tree.folder, input: Buffer.concat(parts) })).stdout;
}

describe('hand-made objects and old clients', { concurrency: 3 }, () => {
  test('threat 32: trees with dangerous names, duplicate names or a wrong mode are refused, and main does not move', async () => {
    const { name, tree, first } = await liveTool(server, 'odd-trees');
    const blob = (await execa('git', ['hash-object', '-w', '--stdin'], { cwd: tree.folder, input: 'x' }))
      .stdout;
    const inner = await rawTree(tree, [['100644', 'x', blob]]);
    const names: Record<string, readonly [mode: string, name: string, id: string][]> = {
      'dot dot': [['40000', '..', inner]],
      dot: [['40000', '.', inner]],
      'a repository': [['40000', '.git', inner]],
      'a repository in capitals': [['40000', '.GIT', inner]],
      'a short name of Windows': [['40000', 'git~1', inner]],
      'a name that HFS+ folds': [['40000', '.g\u200cit', inner]],
      'a slash': [['100644', 'a/b', blob]],
      twice: [
        ['100644', 'a', blob],
        ['100644', 'a', blob],
      ],
      'a mode with zeros': [['0100644', 'a', blob]],
      'a .gitmodules that is a link': [['120000', '.gitmodules', blob]],
    };
    for (const [what, entries] of Object.entries(names)) {
      const id = await rawTree(tree, entries);
      const commit = (await tree.git('commit-tree', '-p', first, '-m', what, id)).stdout;
      const { text } = await rawPush(
        { server, name, tree },
        {
          commands: [{ oldId: first, newId: commit, ref: 'refs/heads/main' }],
          objects: [commit, `^${first}`],
        },
      );
      assert.match(text, /unpack (?!ok)|ng refs\/heads\/main/, what);
      assert.equal(await main(name), first, what);
    }
    assert.equal((await server.get(name)).body, 'one');
  });

  test('threat 40: a build sees only the files of its own commit, none of an earlier commit or build', async () => {
    const { tree } = await liveTool(server, 'fresh', {
      ...webTool('one'),
      'old.txt': 'old',
      'dir/deep.txt': 'old',
    });
    await tree.git('rm', '--quiet', '-r', 'old.txt', 'dir');
    await tree.commit('two', webTool('two', 'touch left-behind; find . | sort'));
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.doesNotMatch(pushed.stderr, /old\.txt|deep\.txt/);
    await tree.commit('three', webTool('three', 'find . | sort'));
    const again = await tree.push('-o', 'no-cache', 'toolforge', 'main');
    assert.equal(again.exitCode, 0, again.stderr);
    assert.match(again.stderr, /\.\/server\.py/);
    assert.doesNotMatch(again.stderr, /left-behind/);
  });

  for (const version of ['0', '1', '2']) {
    test(`threat 52: fetch and push work over SSH and HTTP with git protocol v${version}`, async () => {
      const { name, tree, first } = await liveTool(server, `protocol-${version}`);
      let last = first;
      for (const door of ['ssh', 'http'] as const) {
        const other = await WorkTree.create(server, door, name);
        const git = (...args: string[]) => other.git('-c', `protocol.version=${version}`, ...args);
        const fetched = await git('fetch', '--quiet', 'toolforge');
        assert.equal(fetched.exitCode, 0, fetched.stderr);
        assert.equal((await git('rev-parse', 'toolforge/main')).stdout, last);
        await git('reset', '--quiet', '--hard', 'toolforge/main');
        last = await other.commit(door, webTool(`${door} ${version}`));
        const pushed = await git('push', 'toolforge', 'main');
        assert.equal(pushed.exitCode, 0, pushed.stderr);
        assert.equal((await server.get(name)).body, `${door} ${version}`);
      }
      assert.notEqual((await tree.git('rev-parse', 'HEAD')).stdout, last);
    });
  }

  test('threat 52: a push from a SHA-256 repository is refused with a message about the format, and leaves no refs', async () => {
    for (const door of ['ssh', 'http'] as const) {
      const name = `sha256-${door}`;
      await server.addTool(name);
      const tree = await WorkTree.create(server, door, name);
      const folder = `${tree.folder}/inside`;
      await execa('git', ['init', '--quiet', '--object-format=sha256', '--initial-branch=main', folder]);
      const git = (...args: string[]) => tree.git('-C', folder, ...args);
      await git('commit', '--quiet', '--allow-empty', '--message', 'one');
      const pushed = await git('push', server.remote(door, name), 'main');
      assert.notEqual(pushed.exitCode, 0);
      assert.match(pushed.stderr, /sha256|object format|hash algorithm|unexpected capabilities/);
      assert.equal(await server.inRepository(name, 'for-each-ref'), '');
    }
  });
});

test('threat 88: after a hundred commands and git requests, some refused, the server has at most three more open file descriptors and one more child process than before', async () => {
  const { name, tree } = await liveTool(server, 'leaky');
  const descriptors = async () => (await readdir(`/proc/${server.pid}/fd`)).length;
  const children = async () =>
    (await execa('pgrep', ['-P', String(server.pid)], { reject: false })).stdout.split('\n').length;
  const round = async (count: number) => {
    for (let index = 0; index < count; index++) {
      const ssh = index % 2 === 0;
      if (ssh) await server.command('tools');
      else await tree.git('push', `http://mallory:wrong@${server.http}/${name}.git`, 'main');
      await tree.git('ls-remote', 'toolforge');
    }
  };
  await round(4);
  const before = [await descriptors(), await children()] as const;
  await round(50);
  await until(async () => (await descriptors()) <= before[0] + 3, 'descriptors as before');
  await until(async () => (await children()) <= before[1] + 1, 'children as before');
});

test('threat 86: if the server is stopped during a build, the push fails with this reason, the build ends, and the old release stays live', async () => {
  const { name, tree, first } = await liveTool(server, 'stopping');
  await tree.commit('two', webTool('two', 'echo begun; sleep 300'));
  const pushing = tree.push();
  await until(
    async () => (await server.command('deployments', name, '--json')).stdout.includes('"building"'),
    'the build',
  );
  await server.kill('SIGTERM');
  const pushed = await pushing;
  assert.notEqual(pushed.exitCode, 0);
  assert.match(pushed.stderr, /the server was stopped; push again/);
  const left = await execa('pgrep', ['-f', `${server.folder}/data/artifacts`], { reject: false });
  assert.equal(left.stdout, '');
  await server.boot();
  assert.equal(await main(name), first);
  await until(async () => (await server.get(name)).body === 'one', 'the old release');
  const [newest] = JSON.parse((await server.command('deployments', name, '--json')).stdout);
  assert.equal(newest.state, 'interrupted');
});
