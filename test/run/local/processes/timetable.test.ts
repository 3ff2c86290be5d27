import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keepTimetable, systemClock } from '../../../../src/run/local/processes/timetable.ts';
import { ScheduledRuns } from '../../../../src/run/scheduled-runs.ts';
import { storedSchedules } from '../../../../src/server-state.ts';
import { SetClock } from '../../../support/set-clock.ts';

/** Records the calls of a timetable while a test moves the clock. */
function kept(cron: string, clock: SetClock) {
  const said: string[] = [];
  const leave = new AbortController();
  const say = (what: string) => (at: number) => {
    said.push(`${what} ${new Date(at).toISOString().slice(5, 16)}`);
  };
  const over = keepTimetable({ cron, clock, onDue: say('due'), onMissed: say('missed') }, leave.signal);
  return {
    said,
    end: async () => {
      leave.abort();
      await over;
    },
  };
}

test('a schedule starts one run each time that a run is due, beginning with the next time', async () => {
  const clock = new SetClock('2026-01-01T00:10:00');
  const { said, end } = kept('*/10 * * * *', clock);
  await clock.pass(25 * 60);
  assert.deepEqual(said, ['due 01-01T00:20', 'due 01-01T00:30']);
  await end();
  await clock.pass(20 * 60);
  assert.equal(said.length, 2);
});

test('if the machine sleeps while several runs of a schedule are due, only the first is reported as missed, and none is caught up', async () => {
  const clock = new SetClock('2026-01-01T00:09:00');
  const { said, end } = kept('*/10 * * * *', clock);
  await clock.set('2026-01-01T03:05:00');
  assert.deepEqual(said, ['missed 01-01T00:10']);
  await clock.pass(6 * 60);
  assert.deepEqual(said, ['missed 01-01T00:10', 'due 01-01T03:10']);
  await end();
});

test('a scheduled run that was due 29 s ago is still started', async () => {
  const clock = new SetClock('2026-01-01T00:09:00');
  const { said, end } = kept('*/10 * * * *', clock);
  await clock.set('2026-01-01T00:10:29');
  assert.deepEqual(said, ['due 01-01T00:10']);
  await end();
});

test('if the clock is set back, schedules continue by the new time', async () => {
  const clock = new SetClock('2036-01-01T00:09:00');
  const { said, end } = kept('0 0 1 1 *', clock);
  await clock.set('2026-12-31T23:59:00');
  await clock.pass(90);
  assert.deepEqual(said, ['due 01-01T00:00']);
  await end();
});

test('a wait by the system clock ends after the given time, or fails with an AbortError when its abort signal fires', async () => {
  const leave = new AbortController();
  await systemClock.wait(1, leave.signal);
  assert.ok(Math.abs(systemClock.now() - Date.now()) < 1000);
  const waiting = systemClock.wait(60_000, leave.signal);
  leave.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
});

test('if the server cannot read whether a schedule is paused, the schedule counts as paused, and no error is thrown', () => {
  const told: unknown[] = [];
  const fails = () => {
    throw new Error('disk I/O error');
  };
  const store = {
    ...{ previewOf: () => null, pausedSchedules: fails, scheduledRuns: fails },
    addScheduledRun: () => {},
  };
  const records = storedSchedules(() => store, { error: (...words: unknown[]) => void told.push(words) });
  assert.equal(records.isPaused('wikibot', 'update'), true);
  assert.match(JSON.stringify(told), /cannot read whether a schedule is paused/);
  assert.equal(records.last('wikibot', 'update'), null);
});

test('after a restart of the server, the newest recorded run of a schedule counts as its last run until another run begins', () => {
  const past = { startedAt: 1, endedAt: 2, exitCode: 1, detail: 'exited with code 1' };
  const store = {
    ...{ previewOf: () => null, pausedSchedules: () => [], addScheduledRun: () => {} },
    scheduledRuns: () => [{ ...past, number: 7, type: 'update' }],
  };
  const runs = new ScheduledRuns(storedSchedules(() => store, { error: () => assert.fail() }));
  assert.equal(runs.last('wikibot', 'update'), null);
  assert.deepEqual(runs.lastRecorded('wikibot', 'update'), past);
  const begun = { startedAt: 3, endedAt: null, exitCode: null, detail: null };
  runs.set('wikibot', 'update', begun);
  assert.deepEqual(runs.lastRecorded('wikibot', 'update'), begun);
});
