import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { TestServer, until } from '../support/server.ts';
import { WorkTree, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({
    TOOLFORGE_PUSH_HEALTH_TIME: '8',
    TOOLFORGE_PUSH_CONCURRENT_DEPLOYMENTS: '8',
  });
});
after(async () => server[Symbol.asyncDispose]());

const live = (tool: string) =>
  server.inRepository(tool, 'rev-parse', '--verify', '--quiet', 'refs/heads/main');
let serial = 0;
async function tool(door: 'ssh' | 'http'): Promise<{ name: string; tree: WorkTree }> {
  serial += 1;
  const name = `tool-${serial}-${door}`;
  await server.addTool(name);
  return { name, tree: await WorkTree.create(server, door, name) };
}

/** Makes a tool whose release v1 is live. */
async function liveTool(
  door: 'ssh' | 'http',
  text = 'one',
): Promise<{ name: string; tree: WorkTree; first: string }> {
  const made = await tool(door);
  const first = await made.tree.commit('one', webTool(text));
  const pushed = await made.tree.push();
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  return { ...made, first };
}

for (const door of ['ssh', 'http'] as const) {
  describe(door, { concurrency: 4 }, () => {
    test(`over ${door}, when git reports that a push succeeded, its commit is live, and the output names the release and its address`, async () => {
      const { name, tree } = await tool(door);
      const commit = await tree.commit('Say hello', webTool('hello'));
      const pushed = await tree.push();
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      assert.match(pushed.stderr, /remote: -----> Push from .*"Say hello"/);
      assert.match(pushed.stderr, new RegExp(`remote: =====> v1 is live at http://${name}\\.localhost:`));
      assert.match(pushed.stderr, /\* \[new branch\] +main -> main/);
      assert.equal(await live(name), commit);
      assert.deepEqual(await server.get(name), { status: 200, body: 'hello' });
    });

    test(`over ${door}, a push whose build fails is rejected with the reason, and the live release stays`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.commit('two', webTool('two', 'echo working; exit 3'));
      const pushed = await tree.push();
      assert.notEqual(pushed.exitCode, 0);
      assert.match(
        pushed.stderr,
        /! \[remote rejected\] main -> main \(build failed: .*; v1 is still live\)/,
      );
      assert.match(pushed.stderr, /remote: .*working/);
      assert.equal(await live(name), first);
      assert.equal((await server.get(name)).body, 'one');
      assert.equal((await tree.git('rev-parse', 'toolforge/main')).stdout, first);
    });

    test(`over ${door}, if the release command fails, the push is rejected and the old release stays live; if the command succeeds, the new release goes live`, async () => {
      const { name, tree, first } = await liveTool(door);
      const withRelease = (command: string) => ({
        ...webTool('two'),
        Procfile: `release: ${command}\nweb: python3 server.py\n`,
      });
      await tree.commit('two', withRelease('echo migrating; exit 4'));
      const failed = await tree.push();
      assert.notEqual(failed.exitCode, 0);
      assert.match(failed.stderr, /remote: -----> Running the release command\s*\nremote: {8}migrating/);
      assert.match(
        failed.stderr,
        /! \[remote rejected\] main -> main \(release failed: the release command exited with code 4; v1 is still live\)/,
      );
      assert.equal(await live(name), first);
      assert.equal((await server.get(name)).body, 'one');
      await tree.commit('three', withRelease('echo migrated'));
      const pushed = await tree.push();
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      assert.match(pushed.stderr, /remote: {8}migrated/);
      assert.equal((await server.get(name)).body, 'two');
    });

    test(`over ${door}, a push of a tool that crashes at its start is rejected with the tool’s output, and the live release stays`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.commit('two', {
        ...webTool('two'),
        'server.py': 'print("no database", flush=True)\nraise SystemExit(7)\n',
      });
      const pushed = await tree.push();
      assert.notEqual(pushed.exitCode, 0);
      assert.match(
        pushed.stderr,
        /! \[remote rejected\] main -> main \(rollout failed: .*7.*; v1 is still live\)/,
      );
      assert.match(pushed.stderr, /remote: .*no database/);
      assert.equal(await live(name), first);
      assert.equal((await server.get(name)).body, 'one');
    });

    test(`over ${door}, a push of a tool that does not open its port within health_time is rejected, and the live release stays`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.commit('two', { ...webTool('two'), 'server.py': 'import time\ntime.sleep(60)\n' });
      const pushed = await tree.push();
      assert.notEqual(pushed.exitCode, 0);
      assert.match(
        pushed.stderr,
        /! \[remote rejected\] main -> main \(rollout failed: .*port.*; v1 is still live\)/,
      );
      assert.equal(await live(name), first);
      assert.equal((await server.get(name)).body, 'one');
    });

    test(`over ${door}, a push to a branch other than the deploy branch is refused with the command that would deploy it, and stores no ref`, async () => {
      const { name, tree } = await tool(door);
      await tree.commit('one', webTool('one'));
      const pushed = await tree.push('toolforge', 'main:fix');
      assert.notEqual(pushed.exitCode, 0);
      assert.match(
        pushed.stderr,
        /! \[remote rejected\] main -> fix \(.*git push toolforge fix:main, or .*: git push toolforge fix:preview\/fix\)/,
      );
      assert.match(pushed.stderr, /remote: .*Nothing was deployed; nothing is live yet/);
      assert.equal(await server.inRepository(name, 'for-each-ref'), '');
    });

    test(`threat 44: over ${door}, the deploy branch cannot be deleted`, async () => {
      const { name, tree, first } = await liveTool(door);
      const pushed = await tree.push('toolforge', ':main');
      assert.notEqual(pushed.exitCode, 0);
      assert.match(pushed.stderr, /! \[remote rejected\] main \(main is live and cannot be deleted/);
      assert.equal(await live(name), first);
      const mirrored = await tree.push('--mirror', 'toolforge');
      assert.notEqual(mirrored.exitCode, 0);
      assert.equal(await live(name), first);
    });

    test(`threat 43: over ${door}, a commit of another history is refused without --force, and goes live with --force`, async () => {
      const { name, tree } = await liveTool(door);
      await tree.git('checkout', '--quiet', '--orphan', 'other');
      const other = await tree.commit('other', webTool('other'));
      const plain = await tree.push('toolforge', 'other:main');
      assert.notEqual(plain.exitCode, 0);
      const forced = await tree.push('-f', 'toolforge', 'other:main');
      assert.equal(forced.exitCode, 0, forced.stderr);
      assert.equal(await live(name), other);
      assert.equal((await server.get(name)).body, 'other');
    });

    test(`over ${door}, a forced push is refused if another commit goes live while the push waits`, async () => {
      const { name, tree } = await liveTool(door);
      const slow = await tree.commit('slow', webTool('slow', 'echo go; sleep 3'));
      const [first, second] = await Promise.all([
        tree.push(),
        (async () => {
          await until(
            async () => (await server.command('builds', name, '--json')).stdout.includes(slow),
            'the build exists',
          );
          const fork = await WorkTree.create(server, door, name);
          await fork.commit('unrelated', webTool('unrelated'));
          return fork.push('-f', 'toolforge', 'main');
        })(),
      ]);
      assert.equal(first.exitCode, 0, first.stderr);
      assert.notEqual(second.exitCode, 0);
      assert.match(
        second.stderr,
        /remote: .*Waiting, 1st in line: the push \S+ of \S+, which began \d+ s ago, comes first/,
      );
      assert.match(
        second.stderr,
        /! \[remote rejected\] main -> main \(v2 \(.*\) went live while you waited; v2 is still live\)/,
      );
      assert.equal(await live(name), slow);
    });

    test(`threat 45: over ${door}, a pushed tag is stored, deploys nothing, and can be deleted`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.git('tag', '-a', '-m', 'x', 'v1.0');
      const pushed = await tree.push('toolforge', 'v1.0');
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      assert.match(pushed.stderr, /remote: .*Tags do not deploy/);
      assert.equal(await server.inRepository(name, 'rev-parse', 'refs/tags/v1.0^{}'), first);
      assert.equal((await tree.push('toolforge', ':v1.0')).exitCode, 0);
      assert.equal(await server.inRepository(name, 'for-each-ref', 'refs/tags'), '');
    });

    test(`over ${door}, a tag object that is pushed to the deploy branch is refused, and the live release stays`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.commit('two', webTool('two'));
      await tree.git('tag', '-a', '-m', 'x', 'v2.0');
      // git itself refuses a tag for a branch, so the test pushes the object's id.
      const tag = (await tree.git('rev-parse', 'v2.0')).stdout;
      const pushed = await tree.push('toolforge', `${tag}:refs/heads/main`, '--force');
      assert.notEqual(pushed.exitCode, 0);
      assert.equal(await live(name), first);
    });

    test(`over ${door}, a push with --atomic moves no ref if its deployment fails, and all refs if it succeeds`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.commit('two', webTool('two', 'exit 1'));
      await tree.git('tag', 'v2.0');
      const pushed = await tree.push('--atomic', 'toolforge', 'main', 'v2.0');
      assert.notEqual(pushed.exitCode, 0);
      assert.match(pushed.stderr, /! \[remote rejected\] v2\.0 -> v2\.0 \(atomic push failure\)/);
      assert.match(pushed.stderr, /! \[remote rejected\] main -> main \(build failed/);
      assert.equal(await live(name), first);
      assert.equal(await server.inRepository(name, 'for-each-ref', 'refs/tags'), '');
      const second = await tree.commit('three', webTool('three'));
      const whole = await tree.push('--atomic', 'toolforge', 'main', 'v2.0');
      assert.equal(whole.exitCode, 0, whole.stderr);
      assert.equal(await live(name), second);
      assert.notEqual(await server.inRepository(name, 'for-each-ref', 'refs/tags'), '');
      assert.equal(
        await server.inRepository(name, 'for-each-ref', 'refs/parked', 'refs/deployments/*-x'),
        '',
      );
    });

    test(`threat 49: over ${door}, several refs in one push get an answer each, and cause one deployment`, async () => {
      const { name, tree } = await tool(door);
      const commit = await tree.commit('one', webTool('one'));
      await tree.git('tag', 'v1.0');
      await tree.git('branch', 'fix');
      const pushed = await tree.push('toolforge', 'main', 'v1.0', 'fix');
      assert.notEqual(pushed.exitCode, 0);
      assert.match(pushed.stderr, /\* \[new branch\] +main -> main/);
      assert.match(pushed.stderr, /\* \[new tag\] +v1\.0 -> v1\.0/);
      assert.match(pushed.stderr, /! \[remote rejected\] fix -> fix/);
      assert.equal(await live(name), commit);
      assert.equal(JSON.parse((await server.command('releases', name, '--json')).stdout).length, 1);
    });

    test(`threat 46: over ${door}, a push from a shallow clone without the live commit is refused, and goes live with --force`, async () => {
      const { name, tree } = await liveTool(door);
      await tree.commit('two', webTool('two'));
      await tree.commit('three', webTool('three'));
      const clone = await WorkTree.create(server, door, name);
      await clone.git('fetch', '--quiet', '--depth=1', `file://${tree.folder}`, 'main');
      await clone.git('reset', '--quiet', '--hard', 'FETCH_HEAD');
      const four = await clone.commit('four', webTool('four'));
      const plain = await clone.push();
      assert.notEqual(plain.exitCode, 0);
      const forced = await clone.push('-f', 'toolforge', 'main');
      assert.equal(forced.exitCode, 0, forced.stderr);
      assert.equal(await live(name), four);
      assert.equal((await server.get(name)).body, 'four');
    });

    test(`threat 46: over ${door}, a failed push from a shallow clone does not leave the repository on the server shallow`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.commit('two', webTool('two'));
      await tree.commit('three', webTool('three'));
      const clone = await WorkTree.create(server, door, name);
      await clone.git('fetch', '--quiet', '--depth=1', `file://${tree.folder}`, 'main');
      await clone.git('reset', '--quiet', '--hard', 'FETCH_HEAD');
      await clone.commit('four', webTool('four', 'exit 1'));
      assert.notEqual((await clone.push('-f', 'toolforge', 'main')).exitCode, 0);
      assert.equal(await live(name), first);
      await until(
        async () => (await server.inRepository(name, 'rev-parse', '--is-shallow-repository')) === 'false',
        'whole again',
      );
      assert.equal(await server.inRepository(name, 'for-each-ref', 'refs/deployments'), '');
    });

    test(`threat 47: over ${door}, a push of the live commit says that everything is up to date, and makes no release`, async () => {
      const { name, tree } = await liveTool(door);
      const pushed = await tree.push();
      assert.equal(pushed.exitCode, 0);
      assert.match(pushed.stderr, /Everything up-to-date/);
      if (door === 'ssh') {
        assert.match(pushed.stderr, new RegExp(`redeploy ${name}`));
        assert.match(
          pushed.stderr,
          new RegExp(
            `older or other commit without them: git push -f toolforge HEAD:main, or ssh .* rollback ${name}`,
          ),
        );
      }
      assert.equal(JSON.parse((await server.command('releases', name, '--json')).stdout).length, 1);
    });

    test(`threat 47: over ${door}, a push of a commit without files is refused with this reason`, async () => {
      const { name, tree } = await tool(door);
      await tree.commit('nothing', {});
      const pushed = await tree.push();
      assert.notEqual(pushed.exitCode, 0);
      assert.match(pushed.stderr, /! \[remote rejected\] main -> main \(the commit has no files\)/);
      assert.equal(await live(name), '');
    });

    test(`threat 48: over ${door}, an unknown push option is refused with a list of the known options`, async () => {
      const { name, tree } = await tool(door);
      await tree.commit('one', webTool('one'));
      const pushed = await tree.push('-o', 'fast', 'toolforge', 'main');
      assert.notEqual(pushed.exitCode, 0);
      assert.match(
        pushed.stderr,
        /unknown push option "fast"; known are: detach, dry-run, no-cache, no-color, message=TEXT/,
      );
      assert.equal(await live(name), '');
    });

    test(`over ${door}, a push with -o detach ends before its commit is live, moves no remote-tracking branch, and goes live later`, async () => {
      const { name, tree } = await tool(door);
      const commit = await tree.commit('one', webTool('one', 'sleep 1'));
      const pushed = await tree.push('-o', 'detach', 'toolforge', 'main');
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      assert.match(pushed.stderr, /main -> refs\/deployments\//);
      assert.equal(await live(name), '');
      assert.notEqual((await tree.git('rev-parse', '--verify', '--quiet', 'toolforge/main')).exitCode, 0);
      await until(async () => (await live(name)) === commit, 'live');
    });

    test(`over ${door}, a push with the options no-color and message goes live`, async () => {
      const { name, tree } = await tool(door);
      await tree.commit('one', webTool('one'));
      const pushed = await tree.push(
        '-o',
        'no-color',
        '-o',
        'message=for the editathon',
        'toolforge',
        'main',
      );
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      assert.match(
        (await server.command('builds', name)).stdout + (await server.command('releases', name)).stdout,
        /editathon|Deploy/,
      );
    });

    test(`over ${door}, Ctrl-C ends a push but not its deployment, and a second push of the same commit joins this deployment`, async () => {
      const { name, tree } = await tool(door);
      const commit = await tree.commit(
        'one',
        webTool('one', 'for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done'),
      );
      const leaving = new AbortController();
      const left = tree.gitUntil(leaving.signal, 'SIGINT', 'push', 'toolforge', 'main');
      await until(
        async () => (await server.command('builds', name, '--json')).stdout.includes(commit),
        'the build runs',
      );
      leaving.abort();
      assert.notEqual((await left).exitCode, 0);
      assert.equal(await live(name), '');
      const joined = await tree.push();
      assert.equal(joined.exitCode, 0, joined.stderr);
      assert.match(joined.stderr, /joined this deployment with a push of the same commit/);
      assert.match(joined.stderr, /remote: .*line 1\b/);
      assert.match(joined.stderr, /remote: .*line 8\b/);
      assert.equal(await live(name), commit);
      assert.equal(JSON.parse((await server.command('releases', name, '--json')).stdout).length, 1);
    });

    test(`promise 5: over ${door}, a push goes live even if its client is killed during the build`, async () => {
      const { name, tree } = await tool(door);
      const commit = await tree.commit(
        'one',
        webTool('one', 'for i in 1 2 3 4; do head -c 100000 /dev/zero | tr "\\0" x; echo; sleep 0.5; done'),
      );
      const leaving = new AbortController();
      const killed = tree.gitUntil(leaving.signal, 'SIGKILL', 'push', 'toolforge', 'main');
      await until(
        async () => (await server.command('builds', name, '--json')).stdout.includes(commit),
        'the build runs',
      );
      leaving.abort();
      await killed;
      await until(async () => (await live(name)) === commit, 'live');
      assert.equal((await server.get(name)).body, 'one');
    });

    test(`promise 3: over ${door}, of two pushes of sibling commits, the first push goes live, and the second is refused with the reason`, async () => {
      const { name, tree } = await liveTool(door);
      const rival = await WorkTree.create(server, door, name);
      await rival.git('fetch', '--quiet', 'toolforge');
      await rival.git('reset', '--quiet', '--hard', 'toolforge/main');
      const one = await tree.commit('mine', webTool('mine', 'sleep 2'));
      await rival.commit('yours', webTool('yours'));
      const first = tree.push();
      await until(
        async () => (await server.command('builds', name, '--json')).stdout.includes(one),
        'the build runs',
      );
      const second = await rival.push();
      assert.equal((await first).exitCode, 0);
      assert.notEqual(second.exitCode, 0);
      assert.match(second.stderr, /\(v2 \(.*\) went live while you waited/);
      assert.equal(await live(name), one);
    });

    test(`over ${door}, a waiting push is superseded by a push of a descendant of its commit`, async () => {
      const { name, tree } = await liveTool(door);
      const one = await tree.commit('slow', webTool('slow', 'sleep 3'));
      const first = tree.push();
      await until(
        async () => (await server.command('builds', name, '--json')).stdout.includes(one),
        'the build runs',
      );
      await tree.commit('waits', webTool('waits'));
      const second = tree.push();
      await until(
        async () =>
          (await server.inRepository(name, 'for-each-ref', 'refs/deployments')).split('\n').length === 2,
        'it waits',
      );
      const last = await tree.commit('newest', webTool('newest'));
      const third = tree.push();
      assert.equal((await first).exitCode, 0);
      const waited = await second;
      assert.notEqual(waited.exitCode, 0);
      assert.match(waited.stderr, new RegExp(`superseded by ${last.slice(0, 7)}`));
      assert.equal((await third).exitCode, 0, (await third).stderr);
      assert.equal(await live(name), last);
    });

    test(`over ${door}, a push of an older commit is deployed from its earlier build`, async () => {
      const { name, tree, first } = await liveTool(door);
      await tree.commit('two', webTool('two'));
      assert.equal((await tree.push()).exitCode, 0);
      const pushed = await tree.push('-f', 'toolforge', `${first}:main`);
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      assert.match(pushed.stderr, /Using the earlier build of/);
      assert.equal(await live(name), first);
      assert.equal((await server.get(name)).body, 'one');
    });

    test(`over ${door}, refs/releases/* can be fetched but not pushed, and a forced push sets main back to the commit of a release`, async () => {
      const { tree, first } = await liveTool(door);
      const two = await tree.commit('two', webTool('two'));
      assert.equal((await tree.push()).exitCode, 0);
      await tree.git('fetch', '--quiet', 'toolforge', 'refs/releases/*:refs/releases/*');
      assert.equal(
        (await tree.git('rev-parse', 'refs/releases/v1', 'refs/releases/v2')).stdout,
        `${first}\n${two}`,
      );
      assert.notEqual((await tree.push('toolforge', 'main:refs/releases/v9')).exitCode, 0);
      const back = await tree.push('-f', 'toolforge', 'refs/releases/v1^{}:refs/heads/main');
      assert.equal(back.exitCode, 0, back.stderr);
    });

    test(`over ${door}, a clone during a deployment gets the live commit`, async () => {
      const { name, tree, first } = await liveTool(door);
      const two = await tree.commit('two', webTool('two', 'sleep 2'));
      const pushing = tree.push();
      await until(
        async () => (await server.command('builds', name, '--json')).stdout.includes(two),
        'the build runs',
      );
      const clone = await WorkTree.create(server, door, name);
      const fetched = await clone.git('clone', '--quiet', server.remote(door, name), 'copy');
      assert.equal(fetched.exitCode, 0, fetched.stderr);
      assert.equal((await clone.git('-C', 'copy', 'rev-parse', 'HEAD')).stdout, first);
      assert.equal((await clone.git('ls-remote', 'toolforge', 'refs/deployments/*')).stdout, '');
      assert.equal((await pushing).exitCode, 0);
    });

    test(`over ${door}, 10 MB of build output reach the client completely`, async () => {
      const { tree } = await tool(door);
      await tree.commit(
        'one',
        webTool(
          'one',
          'yes "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde" | head -n 160000; echo the end',
        ),
      );
      const pushed = await tree.push();
      assert.equal(pushed.exitCode, 0);
      assert.equal(pushed.stderr.match(/0123456789abcdef0123456789abcde\b/g)?.length, 160_000);
      assert.match(pushed.stderr, /the end/);
    });

    test(`threat 56: over ${door}, a build that is silent for 60 s does not break the connection of its push`, async () => {
      const { name, tree } = await tool(door);
      const commit = await tree.commit('one', webTool('one', 'sleep 60'));
      const pushed = await tree.push();
      assert.equal(pushed.exitCode, 0, pushed.stderr);
      assert.equal(await live(name), commit);
    });
  });
}

test('a push to master is deployed while the tool has no branch main, and a later push to main replaces master', async () => {
  const { name, tree } = await tool('ssh');
  const commit = await tree.commit('one', webTool('one'));
  const pushed = await tree.push('toolforge', 'main:master');
  assert.equal(pushed.exitCode, 0, pushed.stderr);
  assert.equal(await server.inRepository(name, 'rev-parse', 'refs/heads/master'), commit);
  const two = await tree.commit('two', webTool('two'));
  assert.equal((await tree.push('toolforge', 'main:master')).exitCode, 0);
  const clone = await tree.git('clone', '--quiet', server.remote('ssh', name), 'copy');
  assert.equal(clone.exitCode, 0, clone.stderr);
  assert.equal((await tree.git('-C', 'copy', 'rev-parse', 'HEAD')).stdout, two);
  const three = await tree.commit('three', webTool('three'));
  const moved = await tree.push('toolforge', 'main');
  assert.equal(moved.exitCode, 0, moved.stderr);
  assert.equal(await live(name), three);
  assert.equal(await server.inRepository(name, 'for-each-ref', 'refs/heads/master'), '');
});

test('if master is live, a push of another history to main is refused, and the commands that the refusal names replace master by main', async () => {
  const { name, tree } = await tool('ssh');
  const first = await tree.commit('one', webTool('one'));
  assert.equal((await tree.push('toolforge', 'main:master')).exitCode, 0);
  await tree.git('commit', '--quiet', '--amend', '--allow-empty', '--message', 'another beginning');
  const refused = await tree.push();
  assert.notEqual(refused.exitCode, 0);
  assert.match(
    refused.stderr,
    /main -> main \(the branch main would replace master, which is live at v1 \([0-9a-f]{7}\), but main does not contain the live commit; v1 is still live\)/,
  );
  assert.equal(
    await server.inRepository(name, 'for-each-ref', '--format=%(refname) %(objectname)', 'refs/heads'),
    `refs/heads/master ${first}`,
  );
  const [, replace = ''] =
    /then push main: git (push -f toolforge main:master) && git push toolforge main\s*$/m.exec(
      refused.stderr,
    ) ?? [];
  const replaced = await tree.git(...replace.split(' '));
  assert.equal(replaced.exitCode, 0, replaced.stderr);
  const renamed = await tree.push('toolforge', 'main');
  assert.equal(renamed.exitCode, 0, renamed.stderr);
  assert.match(
    renamed.stderr,
    /v2 is live already\s*\nremote: {8}The server now has the branch main instead of master/,
  );
  assert.match(renamed.stderr, /\* \[new branch\] +main -> main/);
  const head = await tree.head();
  assert.equal(
    await server.inRepository(name, 'for-each-ref', '--format=%(refname) %(objectname)', 'refs/heads'),
    `refs/heads/main ${head}`,
  );
  assert.equal(await server.inRepository(name, 'symbolic-ref', 'HEAD'), 'refs/heads/main');
  assert.match((await tree.push('toolforge', 'main')).stderr, /Everything up-to-date/);
});
