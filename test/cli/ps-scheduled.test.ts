import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessStatus, ScheduledRun } from '../../src/run/runtime.ts';
import { Desk } from '../support/cli-services.ts';
import { artifactOf, buildOf, deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

const now = Date.now();
const hour = 3600_000;
const nextAt = new Date('2026-11-26T03:17:00Z').getTime();

function scheduled(name: string, lastRun: ScheduledRun | null, change: Partial<ProcessStatus> = {}) {
  const schedule = { text: '@daily', cron: '17 3 * * *', nextAt, lastRun };
  const status: ProcessStatus = {
    name,
    version: 1,
    state: 'scheduled',
    command: 'python tidy.py',
    startedAt: lastRun?.startedAt ?? 0,
    restarts: 0,
    detail: lastRun?.detail ?? null,
    schedule,
    ...change,
  };
  return status;
}

function deskWith(statuses: ProcessStatus[]): Desk {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.store.addDeployment(deploymentOf('d1'));
  desk.store.addBuild(buildOf('b1', 'd1'));
  desk.store.endBuild('b1', 'BUILD_SUCCESS', artifactOf('b1'), now);
  desk.store.addRelease(releaseOf('d1'));
  desk.store.goLive(wikibot, 1, 'd1', now);
  desk.runtime.statuses = statuses;
  return desk;
}

const ended = {
  startedAt: now - 2 * hour - 500,
  endedAt: now - 2 * hour,
  exitCode: 1,
  detail: 'exited with code 1',
};
const running = { startedAt: now - 70_500, endedAt: null, exitCode: null, detail: null };

test('`ps` shows when scheduled processes ran, how they ended and when they are due', async () => {
  using desk = deskWith([
    scheduled('never.1', null),
    scheduled('update.1', ended),
    scheduled('busy.1', running, { state: 'up' }),
    scheduled('other.1', null, { state: 'crashed', detail: 'was built without isolation' }),
  ]);
  assert.equal(
    (await desk.type(['ps', 'wikibot'])).out,
    `SCHEDULED  VERSION  SCHEDULE  LAST RUN                              NEXT RUN (UTC)    COMMAND
busy.1     v1       @daily    runs since 1 min                      2026-11-26 03:17  python tidy.py
never.1    v1       @daily    -                                     2026-11-26 03:17  python tidy.py
other.1    v1       @daily    crashed: was built without isolation  2026-11-26 03:17  python tidy.py
update.1   v1       @daily    2 h ago: exited with code 1           2026-11-26 03:17  python tidy.py
`,
  );
});

test('`ps` sorts processes by release, the newest first, and within a release by name, web.2 before web.10', async () => {
  const process = (name: string, version: number): ProcessStatus => ({
    ...{ name, version, state: 'up', command: 'python a.py', startedAt: now, restarts: 0, detail: null },
  });
  using desk = deskWith([
    ...[process('web.10', 1), process('web.1', 2), process('web.2', 1), process('daily.1', 1)],
    ...[process('update.1', 2), process('web.1', 1)],
  ]);
  const { out } = await desk.type(['ps', 'wikibot', '--json']);
  assert.deepEqual(
    JSON.parse(out).map((one: { process: string; version: number }) => `${one.process} v${one.version}`),
    ['update.1 v2', 'web.1 v2', 'daily.1 v1', 'web.1 v1', 'web.2 v1', 'web.10 v1'],
  );
});

test('`ps` shows which schedules are paused', async () => {
  using desk = deskWith([scheduled('update.1', ended), scheduled('never.1', null)]);
  desk.store.setPaused(wikibot, 'update', true);
  const { out } = await desk.type(['ps', 'wikibot']);
  assert.match(out, /^update\.1 .* paused {2,}python tidy\.py$/m);
  assert.match(out, /^never\.1 .* 2026-11-26 03:17 {2}python tidy\.py$/m);
});

test('`tools` shows the state “up” for a tool that has only scheduled processes', async () => {
  using desk = deskWith([scheduled('update.1', ended)]);
  assert.match((await desk.type(['tools'])).out, /wikibot {2}v1 {4}up/);
});

test('`ps --json` has the schedule, the last run and the next run', async () => {
  using desk = deskWith([scheduled('update.1', ended), scheduled('never.1', null)]);
  const [second, first] = JSON.parse((await desk.type(['ps', 'wikibot', '--json'])).out);
  assert.deepEqual(first, {
    process: 'update.1',
    version: 1,
    state: 'scheduled',
    startedAt: new Date(ended.startedAt).toISOString(),
    restarts: 0,
    command: 'python tidy.py',
    detail: 'exited with code 1',
    memory: null,
    lastExit: null,
    schedule: {
      text: '@daily',
      cron: '17 3 * * *',
      nextAt: '2026-11-26T03:17:00.000Z',
      lastRun: {
        startedAt: new Date(ended.startedAt).toISOString(),
        endedAt: new Date(ended.endedAt).toISOString(),
        exitCode: 1,
        detail: 'exited with code 1',
      },
    },
  });
  assert.deepEqual([second.startedAt, second.schedule.lastRun], [null, null]);
});

/** A `Desk` with a live release that has the scheduled process `update`. */
function deskWithUpdate(): Desk {
  const desk = new Desk();
  desk.maintain(wikibot, 'alice');
  desk.store.addDeployment(deploymentOf('d1'));
  const schedule = { text: '@daily', cron: '17 3 * * *', retry: 0, timeoutSeconds: null };
  const processes = [{ type: 'update', command: ['python', 'tidy.py'], isDefault: false, schedule }];
  desk.store.addRelease(releaseOf('d1', { artifact: { ...artifactOf('b1'), processes } }));
  desk.store.goLive(wikibot, 1, 'd1', now);
  desk.runtime.statuses = [scheduled('update.1', ended)];
  return desk;
}

test('changes by `schedule pause` and `schedule resume` are kept in the store and reach the runtime, and `schedule list` shows them', async () => {
  using desk = deskWithUpdate();
  const type = async (line: string) => await desk.type(line.split(' '));
  assert.match(
    (await type('schedule wikibot')).out,
    /^update +@daily +2 h ago: exited with code 1 +2026-11-26 03:17$/m,
  );
  assert.deepEqual(await type('schedule pause wikibot update.1'), {
    status: 0,
    out: 'update is paused. Resume it with: ssh -p 2222 alice@127.0.0.1 schedule resume wikibot update\n',
    err: '',
  });
  assert.match((await type('schedule pause wikibot update')).out, /already paused/);
  assert.deepEqual(desk.store.pausedSchedules(wikibot), ['update']);
  assert.match((await type('schedule list wikibot')).out, /^update +@daily .* paused$/m);
  assert.equal(JSON.parse((await type('schedule list wikibot --json')).out)[0].isPaused, true);
  assert.match(
    (await type('schedule resume wikibot update')).out,
    /^update is resumed, and runs at its times: @daily$/m,
  );
  assert.deepEqual(desk.store.pausedSchedules(wikibot), []);
  assert.deepEqual(desk.runtime.scheduleCalls, Array(3).fill(['pauses', 'wikibot']));
});

test('`schedule run` starts a run of the live release, and is refused for an unknown name and for a stopped tool', async () => {
  using desk = deskWithUpdate();
  const type = async (line: string) => await desk.type(line.split(' '));
  assert.match((await type('schedule run wikibot update')).out, /logs wikibot -f -p update$/m);
  assert.deepEqual(desk.runtime.scheduleCalls, [['run', 'wikibot', 'update']]);
  const unknown = await type('schedule run wikibot web');
  assert.match(unknown.err, /has no scheduled process web\.\n.*schedule list wikibot/);
  desk.store.setStopped(wikibot, true);
  assert.match((await type('schedule run wikibot update')).err, /wikibot is stopped/);
  assert.equal(desk.runtime.scheduleCalls.length, 1);
});

test('`schedule history` lists ended runs, and `schedule output` prints the lines of one run', async () => {
  using desk = deskWithUpdate();
  const type = async (line: string) => await desk.type(line.split(' '));
  assert.match((await type('schedule history wikibot')).out, /no scheduled run has ended yet/);
  assert.equal(
    (await type('schedule output wikibot update')).out,
    'no scheduled run of update has ended yet\n',
  );
  assert.match((await type('schedule output wikibot update 7')).err, /no such run of update/i);
  const [first, second] = [Date.UTC(2026, 0, 1, 3, 17), Date.UTC(2026, 0, 2, 3, 17)];
  for (const startedAt of [first, second]) {
    const run = {
      type: 'update',
      startedAt,
      endedAt: startedAt + 4000,
      exitCode: 1,
      detail: 'exited with code 1',
    };
    desk.store.addScheduledRun(wikibot, run);
  }
  assert.equal(
    (await type('schedule history wikibot update')).out,
    `RUN  NAME    STARTED (UTC)        TOOK   RESULT
2    update  2026-01-02 03:17:00  4.0 s  exited with code 1
1    update  2026-01-01 03:17:00  4.0 s  exited with code 1
`,
  );
  const at = (time: number, text: string) => ({
    at: new Date(time).toISOString(),
    process: 'update.1',
    version: 1,
    text,
  });
  desk.runtime.lines = [
    at(first - 1, 'before'),
    at(first + 1, 'one'),
    at(second, 'two'),
    at(second + 9000, 'later'),
  ];
  assert.equal((await type('schedule output wikibot update')).out, 'two\n');
  assert.equal((await type('schedule output wikibot update 1')).out, 'one\n');
  // The server reads only log lines from the time of the run, so newer lines do not push the run's lines out.
  const since = new Date(first).toISOString();
  assert.deepEqual(desk.runtime.queries.at(-1)?.match, { since, until: at(first + 5500, '').at, text: null });
  assert.equal((await type('schedule output wikibot update x')).status, 2);
  assert.equal(JSON.parse((await type('schedule history wikibot -n 1 --json')).out)[0].exitCode, 1);
});
