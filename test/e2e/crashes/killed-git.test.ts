import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { run, TestServer, until } from '../../support/server.ts';
import { WorkTree, webTool } from '../../support/work-tree.ts';

const doors = ['ssh', 'http'] as const;

describe('a killed git', { concurrency: 2 }, () => {
  for (const door of doors) {
    test(`over ${door}, if the server’s git process of a push is killed during the deployment, the client still gets the results for the pushed branch and tag`, async () => {
      await using server = await TestServer.start();
      const tree = await WorkTree.create(server, door, 'hello');
      for (const [name, build] of [
        ['one', 'sleep 2'],
        ['two', 'sleep 2; exit 3'],
      ] as const) {
        await tree.commit(name, webTool(name, build));
        await tree.git('tag', name);
        const pushing = tree.push('toolforge', 'main', name);
        await until(
          async () => (await server.command('deployments', 'hello', '--json')).stdout.includes('"building"'),
          'building',
        );
        const repository = `${server.folder}/data/repositories/hello.git`;
        const found = await run('pgrep', ['-f', `git.receive-pack .*${repository}$`]);
        assert.match(found.stdout, /^\d+$/);
        process.kill(Number(found.stdout), 'SIGKILL');
        const pushed = await pushing;
        const main = await server.inRepository('hello', 'rev-parse', 'main');
        if (name === 'one') {
          assert.equal(pushed.exitCode, 0, pushed.stderr);
          assert.match(pushed.stderr, /main -> main/);
          assert.equal(main, (await tree.git('rev-parse', 'one')).stdout);
        } else {
          assert.notEqual(pushed.exitCode, 0);
          assert.match(
            pushed.stderr,
            /\[remote rejected\] main -> main \(build failed: .*; v1 is still live\)/,
          );
          assert.equal(main, (await tree.git('rev-parse', 'one')).stdout);
        }
        assert.match(pushed.stderr, new RegExp(`\\[new tag\\] +${name} -> ${name}`));
      }
    });
  }
});
