import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nextRun, readSchedule, SCHEDULE_WORDS, timesDue } from '../../src/core/schedule.ts';

const at = (time: string) => new Date(`${time}Z`).getTime();
const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString().slice(0, 16));

describe('schedules that can be read', () => {
  for (const { text, cron } of [
    { text: '*/5 * * * *', cron: '*/5 * * * *' },
    { text: '  0   3  * * 1-5 ', cron: '0 3 * * 1-5' },
    { text: '0 0 1,15 jan-Mar *', cron: '0 0 1,15 1-3 *' },
    { text: '0 0 * * SUN', cron: '0 0 * * 0' },
    { text: '0 0 * * 7', cron: '0 0 * * 0' },
    { text: '0 0 * * 5-7', cron: '0 0 * * 5,6,0' },
    { text: '0 0 * * 1-7/2', cron: '0 0 * * 1,3,5,0' },
    { text: '0 0 * * 0-7', cron: '0 0 * * 0,1,2,3,4,5,6' },
    { text: '0 0 * * 3/2', cron: '0 0 * * 3-6/2' },
    { text: '5/15 * * * *', cron: '5-59/15 * * * *' },
    { text: '0 0 29 2 *', cron: '0 0 29 2 *' },
    { text: '07 09 * * *', cron: '7 9 * * *' },
  ]) {
    test(`“${text}” is read as the schedule ${cron}`, () =>
      assert.deepEqual(readSchedule(text, 'wikibot update'), { cron }));
  }
});

describe('texts that are not schedules', () => {
  for (const { text, why } of [
    { text: '', why: /five fields/ },
    { text: '* * * *', why: /five fields .*@hourly/ },
    { text: '* * * * * *', why: /five fields/ },
    { text: `${'1,'.repeat(300)}1 * * * *`, why: /longer than 500 characters/ },
    { text: '60 * * * *', why: /minute is not valid\. Write \* or numbers from 0 to 59/ },
    { text: '* 24 * * *', why: /hour is not valid/ },
    { text: '* * 0 * *', why: /day of the month is not valid/ },
    { text: '* * * 13 *', why: /month is not valid\. .* 1 to 12, or jan to dec/ },
    { text: '* * * * 8', why: /day of the week is not valid\. .* 0 to 6, or sun to sat/ },
    { text: '*/0 * * * *', why: /minute/ },
    { text: '*/90 * * * *', why: /minute/ },
    { text: '9-5 * * * *', why: /minute/ },
    { text: '1,,2 * * * *', why: /minute/ },
    { text: '*-5 * * * *', why: /minute/ },
    { text: '* * L * *', why: /day of the month/ },
    { text: '* * ? * *', why: /day of the month/ },
    { text: '* * * * 1#2', why: /day of the week/ },
    { text: '1e1 * * * *', why: /minute/ },
    { text: '0 0 31 2 *', why: /this day does not exist/ },
    { text: '0 0 31 4,6,9,11 *', why: /this day does not exist/ },
    { text: '@reboot', why: /@hourly, @daily/ },
    { text: '@every 1h', why: /@hourly, @daily/ },
  ]) {
    test(`${JSON.stringify(text)} is refused as a schedule, with the reason`, () => {
      const read = readSchedule(text, 'wikibot update');
      assert.match('why' in read ? read.why : read.cron, why);
    });
  }
});

test('with @daily and similar words, a process always runs at the same moment, and 40 processes run at more than ten different moments', () => {
  const now = Date.now();
  for (const word of SCHEDULE_WORDS) {
    const moments = Array.from({ length: 40 }, (_, index) => {
      const [one, again] = [readSchedule(word, `t${index} update`), readSchedule(word, `t${index} update`)];
      assert.deepEqual(one, again);
      assert.ok('cron' in one && nextRun(one.cron, now) !== null, word);
      return one.cron;
    });
    assert.ok(new Set(moments).size > 10, word);
  }
});

test('the next run of a schedule is in UTC, and strictly after the given moment', () => {
  assert.equal(iso(nextRun('30 2 * * *', at('2026-03-29T02:30'))), '2026-03-30T02:30');
  assert.equal(iso(nextRun('0 0 13 * 5', at('2026-01-09T00:00'))), '2026-01-13T00:00');
  assert.equal(iso(nextRun('0 0 29 2 *', at('2026-01-01T00:00'))), '2028-02-29T00:00');
});

test('the runs of a schedule between two moments are counted, up to 1000', () => {
  const [start, end] = [at('2026-01-01T00:00'), at('2026-01-01T01:00')];
  assert.equal(timesDue('*/20 * * * *', start, end), 2);
  assert.equal(timesDue('0 5 * * *', start, end), 0);
  assert.equal(timesDue('* * * * *', start, start + 10 ** 9), 1000);
});
