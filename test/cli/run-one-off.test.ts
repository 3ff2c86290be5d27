import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ToolName } from '../../src/core/names.ts';
import { Desk } from '../support/cli-services.ts';
import { artifactOf, deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

function deskWithLive(): Desk {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const deployment = deploymentOf('d1');
  desk.store.addDeployment(deployment);
  const { version } = desk.store.addRelease(releaseOf('d1', { artifact: artifactOf('b1') }));
  desk.store.goLive(wikibot, version, 'd1', 1);
  return desk;
}

for (const { name, typed, command } of [
  { name: 'flags', typed: ['ls', '-la', '--help'], command: ['ls', '-la', '--help'] },
  { name: 'a first --, which is dropped', typed: ['--', 'ls', '-a'], command: ['ls', '-a'] },
  { name: 'a later --, which is kept', typed: ['git', '--', 'x'], command: ['git', '--', 'x'] },
  {
    name: 'metacharacters of the shell',
    typed: ['echo', '$(id)', ';', '*'],
    command: ['echo', '$(id)', ';', '*'],
  },
  { name: 'an empty word', typed: ['echo', ''], command: ['echo', ''] },
]) {
  test(`the command \`run\` starts all words after the name of the tool as a program with arguments: ${name}`, async () => {
    using desk = deskWithLive();
    const { status, out, err } = await desk.type(['run', wikibot, ...typed]);
    assert.deepEqual([status, out, err], [0, 'output', 'errors']);
    assert.deepEqual(desk.runtime.oneOffs[0]?.command, command);
    assert.equal(desk.runtime.oneOffs[0]?.release.version, 1);
  });
}

test('for the command `run`, flags before the name of the tool belong to `run` itself', async () => {
  using desk = deskWithLive();
  assert.match(
    (await desk.type(['run', '--help'])).out,
    /^Usage: .* run \[--detach\] \[--list\] \[--json\] \[--end NAME\] TOOL COMMAND …/,
  );
  const wrong = await desk.type(['run', '-x', wikibot, 'ls']);
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /run has no flag -x/);
});

test('`run --detach` prints the name of the command that it starts, `run --list` lists these commands, and `run --end` ends one', async () => {
  using desk = deskWithLive();
  const { status, out } = await desk.type(['run', '--detach', wikibot, 'python3', '--version']);
  assert.equal(status, 0);
  assert.match(
    out,
    /^run\.1\nIts output: .* logs wikibot -f -p run\.1\nTo end it: .* run --end run\.1 wikibot\n$/,
  );
  assert.deepEqual(desk.runtime.detached[0]?.command, ['python3', '--version']);
  const state = { version: 1, state: 'up', restarts: 0, detail: null, startedAt: Date.now() } as const;
  desk.runtime.statuses = [
    { ...state, name: 'web.1', command: 'gunicorn' },
    { ...state, name: 'run.1', command: 'python3 …' },
  ];
  assert.equal(
    (await desk.type(['run', '--list', wikibot])).out,
    'COMMAND  VERSION  STARTED   PROGRAM\nrun.1    v1       just now  python3 …\n',
  );
  assert.equal((await desk.type(['run', '--end', 'run.1', wikibot])).out, 'run.1 is being ended.\n');
  const unknown = await desk.type(['run', '--end', 'web.1', wikibot]);
  assert.equal(unknown.status, 1);
  assert.match(unknown.err, /No command “web\.1” of wikibot runs that was started with --detach/);
  for (const words of [
    ['--list', wikibot, 'ls'],
    ['--list', '--end', 'run.1', wikibot],
    ['--detach', wikibot],
  ])
    assert.equal((await desk.type(['run', ...words])).status, 2, words.join(' '));
});

test('threat 8: if the person who started a detached command no longer maintains the tool, the server tells the runtime to end the command', async (context) => {
  using desk = deskWithLive();
  await desk.type(['run', '--detach', wikibot, 'sleep', '1000']);
  const [detached] = desk.runtime.detached;
  context.mock.timers.enable({ apis: ['setInterval'] });
  const finished = detached?.untilForbidden?.(AbortSignal.abort());
  await finished;
  const watched = detached?.untilForbidden?.(new AbortController().signal);
  context.mock.timers.tick(20_000);
  desk.maintain(wikibot, 'bob');
  context.mock.timers.tick(20_000);
  await assert.rejects(async () => await watched, { code: 'NO_ACCESS' });
});

for (const { name, words, message } of [
  { name: 'a missing command', words: [], message: /run needs COMMAND/ },
  { name: 'a command with a NUL', words: ['a\0b'], message: /control character/ },
  { name: 'a command with an escape character', words: ['echo', '\u001b[2J'], message: /control character/ },
  { name: 'a command with broken UTF-8', words: ['\ufffd'], message: /control character or is not UTF-8/ },
  {
    name: 'a command whose first word is empty',
    words: ['', 'x'],
    message: /first word of the command is empty/,
  },
]) {
  test(`the command \`run\` refuses ${name}`, async () => {
    using desk = deskWithLive();
    const { status, err } = await desk.type(['run', wikibot, ...words]);
    assert.equal(status, 2);
    assert.match(err, message);
    assert.equal(desk.runtime.oneOffs.length, 0);
  });
}

test('`run` refuses a command that is longer than 24 KiB', async () => {
  using desk = deskWithLive();
  const { status, err } = await desk.type(['run', wikibot, 'echo', 'x'.repeat(25_000)]);
  assert.equal(status, 1);
  assert.match(err, /longer than 24 KiB/);
});

test('`run` exits with the status of its command, and prints the reason if the server ended the command', async () => {
  using desk = deskWithLive();
  desk.runtime.end = { status: 143, why: 'The command took longer than 5 s and was ended.' };
  const { status, err } = await desk.type(['run', wikibot, 'sleep', '10']);
  assert.equal(status, 143);
  assert.equal(err, 'errors !     The command took longer than 5 s and was ended.\n');
});

test('the audit log has the flags and the program of the command `run`, but not the arguments of the program', async () => {
  using desk = deskWithLive();
  await desk.type(['run', wikibot, 'mysql', '-phunter2']);
  const [event] = desk.events;
  assert.deepEqual([event?.what, event?.tool], ['run', wikibot]);
  assert.deepEqual(event?.facts, { words: ['mysql', '…'], status: 0 });
  for (const { words, noted } of [
    { words: ['--detach', wikibot, 'mysql', '-phunter2'], noted: ['--detach', 'mysql', '…'] },
    { words: ['--end', 'run.1', wikibot], noted: ['--end', 'run.1'] },
    { words: ['--list', wikibot], noted: ['--list'] },
  ]) {
    await desk.type(['run', ...words]);
    assert.deepEqual(desk.events.at(-1)?.facts, { words: noted, status: 0 });
  }
});

test('`run` is refused for a tool without a live release, and for a credential that may only read', async () => {
  using desk = new Desk();
  const tool = 'fresh' as ToolName;
  desk.maintain(tool, 'alice');
  const nothing = await desk.type(['run', tool, 'true']);
  assert.equal(nothing.status, 1);
  assert.match(nothing.err, /fresh has nothing live yet/);
  const reader = { ...desk.alice, scope: 'read' as const, credential: 'deploy token look' };
  const refused = await desk.type(['run', tool, 'true'], { principal: reader });
  assert.equal(refused.status, 1);
  assert.match(refused.err, /may only read fresh, but this request needs the right to deploy/);
});
