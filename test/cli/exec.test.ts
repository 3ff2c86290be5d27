import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessStatus } from '../../src/run/runtime.ts';
import { Desk } from '../support/cli-services.ts';
import { artifactOf, deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

const up: ProcessStatus = {
  ...{ name: 'web.1', version: 1, state: 'up', command: 'gunicorn', startedAt: 0, restarts: 0, detail: null },
};
const crashed: ProcessStatus = {
  ...{ ...up, name: 'worker.1', state: 'crashed', detail: 'exited with code 1; starting again in 4 s' },
};

function deskWithLive(): Desk {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.store.addDeployment(deploymentOf('d1'));
  const { version } = desk.store.addRelease(releaseOf('d1', { artifact: artifactOf('b1') }));
  desk.store.goLive(wikibot, version, 'd1', 1);
  desk.runtime.statuses = [
    up,
    crashed,
    { ...up, name: 'nightly.1', state: 'scheduled' },
    { ...up, name: 'run.1' },
  ];
  return desk;
}

for (const { typed, command } of [
  { typed: ['ls', '-la', '--help'], command: ['ls', '-la', '--help'] },
  { typed: ['--', 'ls', '-a'], command: ['ls', '-a'] },
  { typed: ['echo', '$(id)', '', ';'], command: ['echo', '$(id)', '', ';'] },
]) {
  test(`\`exec\` runs the words after the name of the process as a command, and drops a \`--\` in front of them: ${typed.join(' ')}`, async () => {
    using desk = deskWithLive();
    assert.deepEqual(await desk.type(['exec', wikibot, 'web.1', ...typed]), {
      status: 0,
      out: 'beside',
      err: '',
    });
    const [exec] = desk.runtime.execs;
    assert.deepEqual([exec?.tool, exec?.process, exec?.command], [wikibot, 'web.1', command]);
  });
}

test('the audit log has the process and the program of `exec`, but not the arguments of the program', async () => {
  using desk = deskWithLive();
  await desk.type(['exec', wikibot, 'web.1', 'mysql', '-psecret']);
  assert.deepEqual(
    desk.events.map(({ what, facts }) => [what, facts]),
    [['exec', { words: ['web.1', 'mysql', '…'], status: 0 }]],
  );
  await desk.type(['exec', wikibot, 'mysql', '-psecret']);
  assert.deepEqual(desk.events[1]?.facts, { words: ['mysql', '…'], refused: 'NO_SUCH_PROCESS' });
  await desk.type(['exec', wikibot, 'web.1', '--', 'psql', 'secret']);
  assert.deepEqual(desk.events[2]?.facts, { words: ['web.1', 'psql', '…'], status: 0 });
});

for (const { words, message } of [
  {
    words: ['web.7', 'ls'],
    message: /There is no process “web\.7” of wikibot[\s\S]*These processes run: web\.1$/m,
  },
  { words: ['web', 'ls'], message: /no process “web” of wikibot/ },
  { words: ['run.1', 'ls'], message: /no process “run\.1” of wikibot/ },
  {
    words: ['worker.1', 'ls'],
    message: /The process worker\.1 of wikibot does not run now: exited with code 1; starting again in 4 s\./,
  },
  {
    words: ['nightly.1', 'ls'],
    message: /The process nightly\.1 of wikibot does not run now: it waits for its schedule/,
  },
]) {
  test(`the command \`exec\` is refused for the process ${words[0]}, with the reason`, async () => {
    using desk = deskWithLive();
    const { status, err } = await desk.type(['exec', wikibot, ...words]);
    assert.equal(status, 1);
    assert.match(err, message);
    assert.deepEqual(desk.runtime.execs, []);
  });
}

for (const words of [
  [],
  ['web.1'],
  ['web.1', '--'],
  ['web.1', '-c', 'ls'],
  ['web.1', 'a\u001bb'],
  ['web.1', ''],
]) {
  test(`the command \`exec\` ${JSON.stringify(words)} is a wrong command line`, async () => {
    using desk = deskWithLive();
    assert.equal((await desk.type(['exec', wikibot, ...words])).status, 2);
  });
}

test('`exec` is refused for a stopped tool, and for a tool without a live release', async () => {
  using desk = deskWithLive();
  desk.store.setStopped(wikibot, true);
  const stopped = await desk.type(['exec', wikibot, 'web.1', 'ls']);
  assert.match(stopped.err, /The tool wikibot is stopped\.[\s\S]*restart wikibot/);
  using empty = new Desk();
  empty.maintain(wikibot, 'alice');
  assert.match((await empty.type(['exec', wikibot, 'web.1', 'ls'])).err, /has nothing live yet/);
});
