import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { runCommand } from '../../src/cli/run-command.ts';
import type { Principal } from '../../src/core/types.ts';
import { alice } from '../support/alice.ts';
import { Desk } from '../support/cli-services.ts';
import { longestPause } from '../support/hostile/longest-pause.ts';
import {
  artifactOf,
  buildOf,
  commitOf,
  deploymentOf,
  nameOf,
  otherTool,
  releaseOf,
  wikibot,
} from '../support/store-records.ts';

const minute = 60_000;
const hour = 60 * minute;

/** A `Desk` with a tool that has a live release, a failed deployment and a waiting push. */
function busyDesk(): { desk: Desk; now: number } {
  const desk = new Desk();
  const now = Date.now();
  desk.maintain(wikibot, 'alice');
  desk.maintain(otherTool, 'bob');
  const { store, runtime } = desk;
  store.addDeployment(deploymentOf('d1', { createdAt: now - 3 * hour - minute }));
  store.addBuild(buildOf('b1', 'd1', { startedAt: now - 3 * hour - minute }));
  store.endBuild('b1', 'BUILD_SUCCESS', artifactOf('b1'), now - 3 * hour - minute + 14_200);
  store.addRelease(releaseOf('d1', { createdAt: now - 3 * hour - minute }));
  store.goLive(wikibot, 1, 'd1', now - 3 * hour);
  store.addDeployment(deploymentOf('d2', { createdAt: now - 5 * minute - 500, commit: commitOf('b') }));
  store.addBuild(buildOf('b2', 'd2', { startedAt: now - 5 * minute - 500, commit: commitOf('b') }));
  store.endBuild('b2', 'BUILD_FAILURE', null, now - 5 * minute - 500 + 125_900);
  store.updateDeployment('d2', { state: 'failed', reason: 'build failed: pip exited 1; v1 is still live' });
  store.addDeployment(
    deploymentOf('d3', { createdAt: now - 1, commit: commitOf('c'), by: 'ca\u001b[31mrol' }),
  );
  runtime.statuses = [
    {
      name: 'web.1',
      version: 1,
      state: 'up',
      command: 'gunicorn app:app',
      startedAt: now - 3 * hour - 500,
      restarts: 0,
      detail: null,
      memoryBytes: 60.5 * 2 ** 20,
    },
    {
      name: 'worker.1',
      version: 1,
      state: 'crashed',
      command: 'python worker.py\u001b]0;pwned\u0007',
      startedAt: now - 7500,
      restarts: 12,
      detail: 'exited with code 1; starting again in 4 s',
      lastExit: { at: now - hour - 500, words: 'exited with code 1' },
    },
  ];
  return { desk, now };
}

test('threat 58: tables that commands print have aligned columns and no control sequences', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  const out = async (line: string) => (await desk.type(line.split(' '))).out;
  assert.equal(
    await out('ps wikibot'),
    `PROCESS   VERSION  STATE    STARTED  RESTARTS  MEMORY  COMMAND
web.1     v1       up       3 h ago  0         61 MiB  gunicorn app:app
worker.1  v1       crashed  7 s ago  12        -       python worker.py
worker.1 ended 1 h ago: exited with code 1; starting again in 4 s
Deployment d3 (push of ccccccc by carol) is waiting.
`,
  );
  assert.equal(
    await out('releases wikibot'),
    `VERSION  STATE  COMMIT   WHAT            BY     WHEN
v1       live   aaaaaaa  Deploy aaaaaaa  alice  3 h ago
`,
  );
  assert.equal(
    await out('builds wikibot'),
    `BUILD  STATE          COMMIT   BUILDPACKS     STARTED    TOOK
b2     BUILD_FAILURE  bbbbbbb  -              5 min ago  2 min 5 s
b1     BUILD_SUCCESS  aaaaaaa  python 3.11.2  3 h ago    14 s
`,
  );
  assert.equal(
    await out('deployments wikibot'),
    `DEPLOYMENT  KIND  STATE    COMMIT   RELEASE  BY     WHEN       NOTE
d3          push  waiting  ccccccc  -        carol  just now   -
d2          push  failed   bbbbbbb  -        alice  5 min ago  build failed: pip exited 1; v1 is still live
d1          push  live     aaaaaaa  v1       alice  3 h ago    -
`,
  );
  assert.equal(
    await out('tools'),
    `TOOL     LIVE  STATE    ADDRESS
wikibot  v1    crashed  http://wikibot.localhost:8080/
`,
  );
});

test('with --json, `tools`, `ps`, `releases`, `builds` and `deployments` each print one array with the documented fields', async () => {
  const { desk, now } = busyDesk();
  using _ = desk;
  const list = async (line: string) => JSON.parse((await desk.type([...line.split(' '), '--json'])).out);
  assert.deepEqual(await list('tools'), [
    {
      name: 'wikibot',
      version: 1,
      state: 'crashed',
      address: 'http://wikibot.localhost:8080/',
      frozen: null,
      maintenance: false,
    },
  ]);
  assert.deepEqual((await list('ps wikibot'))[1], {
    process: 'worker.1',
    version: 1,
    state: 'crashed',
    startedAt: new Date(now - 7500).toISOString(),
    restarts: 12,
    command: 'python worker.py\u001b]0;pwned\u0007',
    detail: 'exited with code 1; starting again in 4 s',
    memory: null,
    lastExit: { at: new Date(now - hour - 500).toISOString(), reason: 'exited with code 1' },
    schedule: null,
  });
  assert.deepEqual(await list('releases wikibot'), [
    {
      version: 1,
      state: 'live',
      commit: commitOf('a'),
      description: 'Deploy aaaaaaa',
      promotedTo: null,
      by: 'alice',
      credential: 'ssh ED25519 SHA256:abc',
      deployment: 'd1',
      build: 'b1',
      configVars: ['GREETING'],
      crashes: [],
      createdAt: new Date(now - 3 * hour - minute).toISOString(),
    },
  ]);
  const [failed] = await list('builds wikibot -n 1');
  assert.deepEqual(Object.keys(failed), [
    'id',
    'state',
    'commit',
    'deployment',
    'buildpacks',
    'bytes',
    'startedAt',
    'endedAt',
  ]);
  assert.deepEqual([failed.id, failed.buildpacks], ['b2', null]);
  const deployments = await list('deployments wikibot');
  assert.deepEqual(
    deployments.map(({ id, state }: { id: string; state: string }) => [id, state]),
    [
      ['d3', 'waiting'],
      ['d2', 'failed'],
      ['d1', 'live'],
    ],
  );
});

test('threat 58: `logs --json` escapes every control character in the output of a process', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const text = 'a\u001b]0;x\u0007\u009b2J\u007fz';
  desk.runtime.lines = [{ at: '2026-01-01T00:00:00.000Z', process: 'web.1', version: 1, text }];
  const { out } = await desk.type(['logs', 'wikibot', '--json']);
  assert.doesNotMatch(out, /(?!\n)\p{Cc}/u);
  assert.deepEqual(JSON.parse(out), desk.runtime.lines);
});

test('threat 217: while `logs --json` escapes 4 million characters, the server does other work; the command prints one array', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const one = { at: '2026-01-01T00:00:00.000Z', process: 'web.1', version: 1 };
  desk.runtime.lines = Array.from({ length: 256 }, (_, index) => ({
    ...one,
    text: index === 0 ? 'first' : '\u200b'.repeat(16 * 1024),
  }));
  let printed = '';
  const pause = await longestPause(async () => {
    printed = (await desk.type(['logs', 'wikibot', '--json', '-n', '1000'])).out;
  });
  assert.ok(printed.startsWith(`[\n  {\n    "at": "${one.at}",\n`), printed.slice(0, 60));
  assert.deepEqual(JSON.parse(printed), desk.runtime.lines);
  assert.ok(pause < 300, `a pause of ${pause} ms`);
});

test('threat 224: while a list with `--json` escapes 1.6 million characters, the server does other work', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const message = '\u200b'.repeat(2000);
  for (let count = 0; count < 800; count += 1) {
    desk.store.addDeployment(deploymentOf(`d${count}`, { message }));
    desk.store.updateDeployment(`d${count}`, { state: 'failed' });
  }
  let printed = '';
  const pause = await longestPause(async () => {
    printed = (await desk.type(['deployments', 'wikibot', '--json', '-n', '800'])).out;
  });
  assert.equal(printed.match(/\\u200b/g)?.length, 800 * 2000);
  assert.ok(pause < 400, `a pause of ${pause} ms`);
});

test('threat 259: `tools` of a person with 4,000 tools never keeps the server from other work for 150 ms, and beside these tools, `tools` of a person with one tool takes less than 5 ms of processor time', async () => {
  using desk = new Desk();
  for (let count = 0; count < 4000; count += 1) {
    const tool = nameOf(`many${count}`);
    desk.maintain(tool, 'alice');
    desk.store.tool(tool);
  }
  desk.maintain(nameOf('single'), 'bob');
  let printed = '';
  const pause = await longestPause(async () => {
    printed = (await desk.type(['tools', '--json'])).out;
  });
  assert.equal(JSON.parse(printed).length, 4000);
  assert.ok(pause < 150, `a pause of ${pause} ms`);
  const before = process.threadCpuUsage();
  const bob = { ...alice, uid: 'bob' };
  for (let count = 0; count < 20; count += 1) {
    const { out } = await desk.type(['tools'], { principal: bob });
    assert.match(out, /^single +- +new/m);
  }
  const { user, system } = process.threadCpuUsage(before);
  assert.ok(user + system < 100_000, `20 times, tools took ${user + system} µs`);
});

test('a command with an empty list says so, and with --json prints an empty array', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  for (const [line, says] of [
    ['ps wikibot', /Nothing of wikibot is live yet: git push toolforge main/],
    ['releases wikibot', /no release yet/],
    ['builds wikibot', /no build yet/],
    ['deployments wikibot', /no deployment yet/],
    [
      'config wikibot',
      /no config vars. To set a config var: ssh -p 2222 alice@127\.0\.0\.1 config set wikibot NAME=value/,
    ],
  ] as const) {
    assert.match((await desk.type(line.split(' '))).out, says);
    assert.equal((await desk.type([...line.split(' '), '--json'])).out, '[]\n', line);
  }
  assert.deepEqual(await desk.type(['tools', '--json'], { principal: { ...desk.alice, uid: 'carol' } }), {
    status: 0,
    out: '[]\n',
    err: '',
  });
});

test('`tools` shows a tool as new until its first deployment has ended, and as failed if this deployment failed', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const state = async () => JSON.parse((await desk.type(['tools', '--json'])).out)[0].state;
  assert.equal(await state(), 'new');
  desk.store.tool(wikibot);
  assert.equal(await state(), 'new');
  desk.store.addDeployment(deploymentOf('d1', { state: 'building' }));
  assert.equal(await state(), 'new');
  desk.store.updateDeployment('d1', { state: 'failed', endedAt: Date.now() });
  assert.equal(await state(), 'failed');
});

test('`tools` shows people the tools that they maintain, a credential for one tool only this tool, and the operator every tool that has been used', async () => {
  using desk = new Desk();
  const third = nameOf('third_tool');
  desk.maintain(wikibot, 'alice');
  desk.maintain(third, 'alice');
  desk.maintain(otherTool, 'bob');
  desk.store.tool(otherTool);
  const names = async (change: object) => {
    const { out } = await desk.type(['tools', '--json'], { principal: { ...desk.alice, ...change } });
    return JSON.parse(out).map(({ name, address }: { name: string; address: string | null }) => [
      name,
      address === null,
    ]);
  };
  assert.deepEqual(await names({}), [
    ['wikibot', false],
    ['third_tool', true],
  ]);
  assert.deepEqual(await names({ onlyTool: third }), [['third_tool', true]]);
  assert.deepEqual(await names({ isOperator: true, uid: 'operator' }), [['other-tool', false]]);
});

test('`ps` shows different messages for a stopped tool and a tool whose processes do not run', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  desk.runtime.statuses = [];
  assert.match(
    (await desk.type(['ps', 'wikibot'])).out,
    /No process of wikibot runs, though v1 is live. See why: ssh -p 2222 alice@127\.0\.0\.1 logs wikibot/,
  );
  desk.store.setStopped(wikibot, true);
  assert.match(
    (await desk.type(['ps', 'wikibot'])).out,
    /wikibot is stopped at v1. Start it with: ssh -p 2222 alice@127\.0\.0\.1 restart wikibot/,
  );
  assert.match((await desk.type(['tools'])).out, /wikibot {2}v1 {4}stopped {2}http/);
  desk.store.setMaintenance(wikibot, true);
  assert.match((await desk.type(['tools'])).out, /wikibot {2}v1 {4}stopped \(in maintenance\) {2}http/);
  desk.store.freeze(wikibot, 'the disks move', Date.now());
  assert.match((await desk.type(['tools'])).out, /stopped \(in maintenance, frozen\)/);
  assert.equal(JSON.parse((await desk.type(['tools', '--json'])).out)[0].maintenance, true);
});

test('`logs` prints each line with its time, release and process, and reads only the given process and number of lines', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.runtime.lines = [
    { at: '2026-01-01T00:00:00.000Z', process: 'web.1', version: 41, text: '\u001b[32mGET /\u001b[0m  200' },
    { at: '2026-01-01T00:00:01.000Z', process: 'worker.1', version: null, text: 'ünï\r\u001b[2Kdone' },
  ];
  const { status, out } = await desk.type(['logs', 'wikibot', '-fn', '5', '-p', 'web']);
  assert.equal(status, 0);
  assert.equal(
    out,
    '2026-01-01T00:00:00.000Z v41 web.1: GET /  200\n2026-01-01T00:00:01.000Z worker.1: ünï done\n',
  );
  await desk.type(['logs', 'wikibot']);
  assert.deepEqual(desk.runtime.queries, [
    { process: 'web', lines: 5, follow: true },
    { process: null, lines: 100, follow: false },
  ]);
});

test('with --since, --until or --grep, `logs` asks only for lines of that time or with that text; a --since that is not a time is refused', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.runtime.lines = [{ at: '2026-01-01T00:00:00.000Z', process: 'web.1', version: 1, text: 'seen' }];
  const times = ['--since', '2026-01-01', '--until', '2026-01-01T01:30+01:00'];
  await desk.type(['logs', 'wikibot', ...times, '--grep', 'a.b (c']);
  const before = Date.now();
  await desk.type(['logs', 'wikibot', '-f', '--since', '2h']);
  const [exact, ago] = desk.runtime.queries.map(({ match }) => match);
  assert.deepEqual(exact, {
    since: '2026-01-01T00:00:00.000Z',
    until: '2026-01-01T00:30:00.000Z',
    text: 'a.b (c',
  });
  const agoMs = before - Date.parse(ago?.since ?? '');
  assert.ok(Math.abs(agoMs - 2 * 3600_000) < 10_000, `${agoMs}`);
  for (const wrong of ['yesterday', '2h30m', '2026-02-30', '2026-13-01', '1', '-1d', '9999999999d', '']) {
    const { status, err } = await desk.type(['logs', 'wikibot', `--since=${wrong}`]);
    assert.equal(status, 2, wrong);
    assert.match(err, /--since must be a time ago \(30m, 2h or 1d\) or a time in UTC/);
  }
  for (const words of [
    ['-f', '--until', '1h'],
    ['--since', '1h', '--until', '2h'],
    ['--build', 'd1', '--grep', 'x'],
  ])
    assert.equal((await desk.type(['logs', 'wikibot', ...words])).status, 2, words.join(' '));
});

/** A principal with a token of alice that may only read wikibot. */
const readerOf = ({ alice }: Desk) =>
  ({ ...alice, scope: 'read', credential: 'token ci (abc)', onlyTool: wikibot }) as const;

test('threat 63: a read token cannot read the output of processes, which may contain config vars', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  desk.runtime.lines = [
    { at: '2026-01-01T00:00:00.000Z', process: 'web.1', version: 1, text: 'PASSWORD=hunter22' },
  ];
  const principal = readerOf(desk);
  for (const words of [
    ['logs', 'wikibot'],
    ['logs', 'wikibot', '--json'],
    ['logs', 'wikibot', '-f'],
    ['schedule', 'output', 'wikibot', 'update'],
  ]) {
    const { status, out, err } = await desk.type(words, { principal });
    assert.deepEqual([status, out], [1, '']);
    assert.match(err, /The token ci \(abc\) may read wikibot, but not the output of its processes/);
  }
  assert.equal((await desk.type(['logs', 'wikibot', '--build', 'd1'], { principal })).status, 0);
  desk.maintain(wikibot, 'alice', true);
  assert.equal((await desk.type(['logs', 'wikibot'])).status, 0);
});

test('threat 166: with a read token, `logs --build` shows no output of release commands or of processes', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  const principal = readerOf(desk);
  const build = '-----> Building\n       Installed 3 packages\n';
  const failed = ' !     Rollout failed: web.1 exited with code 3.\n';
  desk.deployments.log = [
    `${build}-----> Releasing v2\n-----> Running the release command\n       new password: 5ecret\n`,
    '-----> Rolling out v2\n       web.1 | session 5ecret\n',
    failed,
  ];
  const shown = async (id: string) =>
    (await desk.type(['logs', 'wikibot', '--build', id], { principal })).out;
  const hidden = ' !     The token ci (abc) may not read the output of processes, which is left out here.\n';
  assert.equal(
    await shown('d1'),
    `${build}-----> Releasing v2\n-----> Running the release command\n${hidden}-----> Rolling out v2\n${failed}`,
  );
  assert.match((await desk.type(['logs', 'wikibot', '--build', 'd1'])).out, /5ecret[\s\S]*5ecret/);

  // A restart builds nothing, so its log begins with the output of processes.
  desk.store.addDeployment(deploymentOf('r1', { kind: 'restart' }));
  desk.deployments.log = ['-----> Restart of v1 by alice\n       web.1 | session 5ecret\n'];
  assert.equal(await shown('r1'), `-----> Restart of v1 by alice\n${hidden}`);
});

test('threat 223: while ten readers with a read token get a log of empty lines by `logs --build`, the server does other work', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  const principal = readerOf(desk);
  desk.deployments.log = Array(20).fill('\n'.repeat(16 * 1024));
  const pause = await longestPause(async () => {
    const reading = Array.from({ length: 10 }, () =>
      desk.type(['logs', 'wikibot', '--build', 'd1'], { principal }),
    );
    for (const { out } of await Promise.all(reading)) assert.equal(out.length, 20 * 16 * 1024);
  });
  assert.ok(pause < 300, `a pause of ${pause} ms`);
});

test('`logs --build` takes the id of a deployment or build of the tool, but no id of another tool', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  desk.store.addDeployment(deploymentOf('theirs', { tool: otherTool }));
  for (const id of ['d1', 'b1']) {
    const { status, out } = await desk.type(['logs', 'wikibot', '--build', id]);
    assert.equal(status, 0);
    assert.equal(out, desk.deployments.log.join(''));
  }
  assert.deepEqual(desk.deployments.calls, [
    ['follow', 'd1', false],
    ['follow', 'd1', false],
  ]);
  const theirs = await desk.type(['logs', 'wikibot', '--build', 'theirs']);
  const none = await desk.type(['logs', 'wikibot', '--build', 'nobody']);
  assert.equal(theirs.status, 1);
  assert.match(theirs.err, /wikibot has no build or deployment “theirs”/);
  assert.equal(none.err, theirs.err.replace('theirs', 'nobody'));
});

test('if no line is shown, `logs` says whether nothing was printed, nothing matches, or the process is unknown', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  desk.runtime.lines = [];
  const wrong = await desk.type(['logs', 'wikibot', '-p', 'worker.1']);
  assert.match(wrong.out, /^v\d+ of wikibot has no process “worker\.1”, .*It has: web\.\n$/);
  const right = await desk.type(['logs', 'wikibot', '-p', 'web']);
  assert.match(right.out, /^web of wikibot has printed nothing yet\. .*logs wikibot --build \S+\n$/);
  const unmatched = await desk.type(['logs', 'wikibot', '-p', 'web', '--grep', 'x']);
  assert.equal(unmatched.out, 'No line in the log of web of wikibot matches.\n');
});

test('`ps` prints a long note below the table, and only once if several processes have it', async () => {
  const { desk, now } = busyDesk();
  using _ = desk;
  const process = {
    version: 1,
    startedAt: now - 7500,
    restarts: 0,
    command: 'python worker.py',
    detail: null,
  };
  const detail =
    'its Deployment was deleted outside of this server, and was restored at 2026-11-28T15:00:00Z';
  desk.runtime.statuses = [
    { ...process, name: 'web.1', state: 'up', detail },
    { ...process, name: 'web.1', state: 'stopping', detail },
    { ...process, name: 'worker.1', state: 'stopping', command: null },
  ];
  assert.equal(
    (await desk.type(['ps', 'wikibot'])).out,
    `PROCESS   VERSION  STATE     STARTED  RESTARTS  MEMORY  COMMAND
web.1     v1       up        7 s ago  0         -       python worker.py
web.1     v1       stopping  7 s ago  0         -       python worker.py
worker.1  v1       stopping  7 s ago  0         -
web.1: ${detail}
Deployment d3 (push of ccccccc by carol) is waiting.
`,
  );
});

test('`releases` shows how often each process of a release has crashed, and `ps` warns of a process of the live release that has crashed three times', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  const at = Date.UTC(2026, 10, 29, 18, 40, 5);
  const crash = (process: string) =>
    desk.store.addCrash(wikibot, 1, { process, at, words: 'exited with code 1' });
  for (const process of ['web.1', 'web.1', 'worker.1']) crash(process);
  const [once, twice] = [
    'worker.1 of v1 has crashed once, at 2026-11-29 18:40 UTC: exited with code 1',
    'web.1 of v1 has crashed 2 times, the last time at 2026-11-29 18:40 UTC: exited with code 1',
  ];
  assert.ok((await desk.type(['releases', 'wikibot'])).out.endsWith(`\n${twice}\n${once}\n`));
  assert.doesNotMatch((await desk.type(['ps', 'wikibot'])).out, /has crashed/);
  crash('web.1');
  const { out } = await desk.type(['ps', 'wikibot']);
  assert.ok(out.startsWith(` !     ${twice.replace('2 times', '3 times')}.\nPROCESS`), out);
  const [release] = JSON.parse((await desk.type(['releases', 'wikibot', '--json'])).out);
  assert.deepEqual(release.crashes[1], {
    ...{ process: 'worker.1', count: 1, reason: 'exited with code 1' },
    ...{ firstAt: '2026-11-29T18:40:05.000Z', lastAt: '2026-11-29T18:40:05.000Z' },
  });
});

test('`ps` says that a tool’s namespace was deleted, and what to do', async () => {
  const { desk } = busyDesk();
  using _ = desk;
  desk.runtime.statuses = [
    {
      ...{ name: 'web.1', version: 1, state: 'crashed', command: 'gunicorn app:app', startedAt: 0 },
      ...{ restarts: 0, detail: 'its namespace tool-wikibot was deleted' },
    },
  ];
  desk.runtime.lost = { namespace: 'tool-wikibot', state: 'gone' };
  assert.equal(
    (await desk.type(['ps', 'wikibot'])).out,
    ` !     v1 does not run: its namespace tool-wikibot was deleted.
 !     Ask the operator to make the namespace again, with the rights of this server in it. Then v1 starts by itself within a minute.
PROCESS  VERSION  STATE    STARTED  RESTARTS  MEMORY  COMMAND
web.1    v1       crashed  -        0         -       gunicorn app:app
Deployment d3 (push of ccccccc by carol) is waiting.
`,
  );
});

test('while `releases --json` lists 20 large releases, the server does other work', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.store.addDeployment(deploymentOf('d1'));
  const configVars = Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [`NAME_${index}`, 'x'.repeat(30_000)]),
  );
  for (let count = 0; count < 20; count += 1) desk.store.addRelease(releaseOf('d1', { configVars }));
  let turns = 0;
  const counting = setInterval(() => {
    turns += 1;
  }, 0);
  const { out } = await desk.type(['releases', 'wikibot', '--json']);
  clearInterval(counting);
  assert.equal(JSON.parse(out).length, 20);
  assert.ok(turns >= 3, `${turns} turns of others`);
});

test('threat 143: forty simultaneous commands that list large config vars keep the server busy for less than half of the time', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const vars = Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [`NAME_${index}`, '"\\\n'.repeat(10_000)]),
  );
  desk.store.setConfigVars(wikibot, vars, 'alice');
  const [startedAt, before] = [performance.now(), process.threadCpuUsage()];
  const run = (index: number) =>
    desk.type(['config', ...(index % 2 === 0 ? ['export'] : ['list']), 'wikibot']);
  const ended = await Promise.all(Array.from({ length: 40 }, (_, index) => run(index)));
  const { user, system } = process.threadCpuUsage(before);
  const part = (user + system) / 1000 / (performance.now() - startedAt);
  assert.ok(ended.every(({ status }) => status === 0));
  assert.ok(part < 0.5, `${Math.round(part * 100)} % of the time`);
});

test('threat 63: the audit log has no value that somebody typed after the name of a config var', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  for (const command of ['unset', 'get']) await desk.type(['config', command, 'wikibot', 'KEY=secret value']);
  assert.deepEqual(
    desk.events.map(({ facts }) => facts?.['words']),
    [['KEY=…'], ['KEY=…']],
  );
});

test('while thirty `deployments` commands print 300 rows each, the server does other work', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  for (let count = 0; count < 300; count += 1)
    desk.store.addDeployment(
      deploymentOf(`d${count}`, { state: 'failed', reason: 'build failed '.repeat(40) }),
    );
  let turns = 0;
  const counting = setInterval(() => {
    turns += 1;
  }, 0);
  const readers = Array.from({ length: 30 }, () => desk.type(['deployments', 'wikibot', '-n', '1000']));
  for (const { out } of await Promise.all(readers)) assert.equal(out.split('\n').length, 302);
  clearInterval(counting);
  assert.ok(turns >= 10, `${turns} turns of others`);
});

test('threat 35: the command `releases` lists each of 45 releases with large artifacts once, the newest first, and at most as many as -n says', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const large = { ...artifactOf('b1'), buildpacks: ['x'.repeat(100_000)] };
  for (let count = 1; count <= 45; count += 1) {
    desk.store.addDeployment(deploymentOf(`d${count}`));
    desk.store.addRelease(releaseOf(`d${count}`, { artifact: large }));
  }
  for (const [wanted, expected] of [
    [1000, 45],
    [40, 40],
    [20, 20],
    [7, 7],
  ] as const) {
    const { out } = await desk.type(['releases', 'wikibot', '-n', String(wanted), '--json']);
    const versions = (JSON.parse(out) as { version: number }[]).map(({ version }) => version);
    assert.deepEqual(
      versions,
      Array.from({ length: expected }, (_, index) => 45 - index),
    );
  }
});

test('threat 135: for 1,000 changes of 190 long names each, the table of `config history` has less than 1 MB, and --json is refused because it would have more than 4 MiB', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const names = Array.from({ length: 190 }, (_, index) => `N${index}${'Y'.repeat(90)}`);
  for (let count = 0; count < 1000; count += 1) {
    const vars = Object.fromEntries(names.map((name) => [name, String(count)]));
    desk.store.setConfigVars(wikibot, vars, 'alice');
  }
  const words = ['config', 'history', 'wikibot', '-n', '1000'];
  const table = await desk.type(words);
  assert.equal(table.status, 0, table.err);
  assert.ok(table.out.length < 1_000_000, `${table.out.length} characters`);
  const refused = await desk.type([...words, '--json']);
  assert.equal(refused.status, 1);
  assert.match(refused.err, /more than 4 MiB.*\n.*Ask for fewer with -n/);
  const fewer = await desk.type([...words.slice(0, -1), '50', '--json']);
  assert.equal(JSON.parse(fewer.out).length, 50);
});

test('threat 135: of nine `config history` or `logs --json` commands that one person runs at the same time, two print and the others wait', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.store.setConfigVars(wikibot, { NAME: 'value' }, 'alice');
  for (const argv of [
    ['config', 'history', 'wikibot'],
    ['logs', 'wikibot', '--json'],
  ]) {
    const sent = Promise.withResolvers<void>();
    let begun = 0;
    const line = {
      services: desk.services,
      principal: desk.alice,
      argv,
      input: (async function* () {})(),
      out: async () => {
        begun += 1;
        await sent.promise;
      },
      err: async () => {},
      signal: new AbortController().signal,
    };
    const running = Array.from({ length: 9 }, () => runCommand(line));
    await wait(300);
    assert.equal(begun, 2, argv.join(' '));
    sent.resolve();
    assert.deepEqual(new Set(await Promise.all(running)), new Set([0]));
  }
});

test('threat 165: of several lists that one deploy token asks for, one is printed and the others wait, so that the person who made the token can still get lists', async () => {
  using desk = new Desk();
  desk.maintain(wikibot, 'alice');
  const sent = Promise.withResolvers<void>();
  const begun: string[] = [];
  const begin = (principal: Principal) =>
    runCommand({
      services: desk.services,
      principal,
      argv: ['releases', 'wikibot'],
      input: (async function* () {})(),
      out: async () => {
        begun.push(principal.credential);
        await sent.promise;
      },
      err: async () => {},
      signal: new AbortController().signal,
    });
  const credential = 'token ci (abcdefghij)';
  const token: Principal = { ...desk.alice, credential, onlyTool: wikibot, scope: 'read' };
  const running = [token, token, token, desk.alice].map(begin);
  await wait(300);
  assert.deepEqual(begun.sort(), [desk.alice.credential, credential]);
  sent.resolve();
  assert.deepEqual(new Set(await Promise.all(running)), new Set([0]));
});
