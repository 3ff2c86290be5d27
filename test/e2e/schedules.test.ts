import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { TestServer, until } from '../support/server.ts';
import { WorkTree, webTool } from '../support/work-tree.ts';

let server: TestServer;
before(async () => {
  server = await TestServer.start({});
});
after(async () => server[Symbol.asyncDispose]());

const nightly = (run: string) =>
  `components:\n  nightly:\n    component_type: scheduled\n    run: {${run}}\n`;

describe('schedules', { concurrency: 2 }, () => {
  test('a command that is scheduled for every minute runs within 90 s after its push, and `ps`, `logs` and `schedule history` show the run; `schedule pause` and `schedule run` work', async () => {
    await server.addTool('timed');
    const tree = await WorkTree.create(server, 'ssh', 'timed');
    await tree.commit('one', {
      'update.py': 'import os\nprint("updated by", os.environ["WHO"])\n',
      'app.py': '',
      Procfile: 'update: python3 update.py\n',
      'toolforge.yaml': nightly('command: update, schedule: "* * * * *"'),
    });
    await server.command('config', 'set', 'timed', 'WHO=alice');
    const pushed = await tree.push();
    assert.equal(pushed.exitCode, 0, pushed.stderr);
    assert.match(pushed.stderr, /remote: {8}nightly\.1 is scheduled: \* \* \* \* \*, next at .* UTC/);
    assert.match(
      pushed.stderr,
      /remote: =====> v1 is live as a set of commands and schedules; it keeps nothing running {5}\(/,
    );
    const logs = async (...words: string[]) => (await server.command('logs', 'timed', ...words)).stdout;
    await until(
      async () => {
        await wait(1000);
        return (await logs()).includes('nightly.1 exited with code 0');
      },
      'a run',
      90_000,
    );
    assert.match(await logs('-p', 'nightly'), /nightly\.1: updated by alice/);
    const { stdout } = await server.command('ps', 'timed');
    assert.match(stdout, /^SCHEDULED +VERSION +SCHEDULE +LAST RUN +NEXT RUN \(UTC\) +COMMAND$/m);
    assert.match(
      stdout,
      /^nightly\.1 +v1 +\* \* \* \* \* +.*exited with code 0 +\d{4}-.* +python3 update\.py$/m,
    );
    const schedule = async (...words: string[]) => (await server.command('schedule', ...words)).stdout;
    assert.match(await schedule('history', 'timed'), /^\d+ +nightly +\d{4}-.* exited with code 0$/m);
    assert.equal(await schedule('output', 'timed', 'nightly'), 'updated by alice');
    assert.match(await schedule('pause', 'timed', 'nightly'), /^nightly is paused\./);
    const count = JSON.parse(await schedule('history', 'timed', '--json')).length;
    assert.match(await schedule('run', 'timed', 'nightly'), /^A run of nightly has started\./);
    const runs = async () => JSON.parse(await schedule('history', 'timed', '--json')).length;
    await until(async () => (await runs()) > count, 'the run by hand in the history', 30_000);
    assert.match(await schedule('list', 'timed'), /^nightly .* exited with code 0 +paused$/m);
    await server.command('stop', 'timed');
    assert.match((await server.command('ps', 'timed')).stdout, /is stopped at v1/);
  });

  test('a push with an invalid schedule is refused with advice, and the live release stays', async () => {
    await server.addTool('broken');
    const tree = await WorkTree.create(server, 'ssh', 'broken');
    await tree.commit('one', webTool('one'));
    assert.equal((await tree.push()).exitCode, 0);
    await tree.commit('two', { 'toolforge.yaml': nightly('command: x, schedule: "0 0 31 2 *"') });
    const pushed = await tree.push();
    assert.notEqual(pushed.exitCode, 0);
    assert.match(
      pushed.stderr,
      /remote: .*schedule 0 0 31 2 \* of nightly in toolforge\.yaml .*this day does not exist/,
    );
    assert.match(pushed.stderr, /remote: .*Write for instance "@daily"/);
    assert.match(pushed.stderr, /remote rejected\] main -> main \(build failed: .*; v1 is still live\)/);
    assert.equal((await server.get('broken')).body, 'one');
  });
});
