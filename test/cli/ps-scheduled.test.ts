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

test('ps shows when scheduled processes ran, how they ended and when they are due', async () => {
  using desk = deskWith([
    scheduled('never.1', null),
    scheduled('update.1', ended),
    scheduled('busy.1', running, { state: 'up' }),
    scheduled('other.1', null, { state: 'crashed', detail: 'was built without isolation' }),
  ]);
  assert.equal(
    (await desk.type(['ps', 'wikibot'])).out,
    `SCHEDULED  VERSION  SCHEDULE  LAST RUN                              NEXT RUN (UTC)    COMMAND
never.1    v1       @daily    -                                     2026-11-26 03:17  python tidy.py
update.1   v1       @daily    2 h ago: exited with code 1           2026-11-26 03:17  python tidy.py
busy.1     v1       @daily    runs since 1 min                      2026-11-26 03:17  python tidy.py
other.1    v1       @daily    crashed: was built without isolation  2026-11-26 03:17  python tidy.py
`,
  );
});

test('a tool that has only scheduled processes has the state up', async () => {
  using desk = deskWith([scheduled('update.1', ended)]);
  assert.match((await desk.type(['tools'])).out, /wikibot {2}v1 {4}up/);
});

test('ps --json has the schedule, the last run and the next run', async () => {
  using desk = deskWith([scheduled('update.1', ended), scheduled('never.1', null)]);
  const [first, second] = JSON.parse((await desk.type(['ps', 'wikibot', '--json'])).out);
  assert.deepEqual(first, {
    process: 'update.1',
    version: 1,
    state: 'scheduled',
    startedAt: new Date(ended.startedAt).toISOString(),
    restarts: 0,
    command: 'python tidy.py',
    detail: 'exited with code 1',
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
