import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createLog } from '../../src/core/log/log.ts';
import { SteadyTime } from '../../src/core/steady-time.ts';
import { ToolPreviews, type ToolPreviewsOptions } from '../../src/deploy/previews.ts';
import { nameOf } from '../support/store-records.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

test('threat 167: a clock that jumps forward for less than an hour ends no preview', async () => {
  const ended: string[] = [];
  class Watched extends ToolPreviews {
    override async end(preview: string): Promise<void> {
      ended.push(preview);
    }
  }
  const [wall, sinceStart] = [{ ms: Date.UTC(2026, 11, 1) }, { ms: 0 }];
  const time = new SteadyTime(
    () => wall.ms,
    () => sinceStart.ms,
  );
  const made = { name: nameOf('fix--wikibot'), tool: nameOf('wikibot'), usedAt: wall.ms - 6 * DAY_MS };
  const store = { previews: () => [{ ...made, isEnding: false }], storedLimits: () => ({ memory: 1 }) };
  const options = { store, days: 7, log: createLog('silent'), time } as unknown as ToolPreviewsOptions;
  await using previews = new Watched(options);
  const lookAfter = async (ms: number, jumpMs = 0) => {
    wall.ms += ms + jumpMs;
    sinceStart.ms += ms;
    previews.start();
    await wait(20);
  };
  await lookAfter(0, 30 * DAY_MS);
  await lookAfter(HOUR_MS, -30 * DAY_MS);
  await lookAfter(HOUR_MS, 30 * DAY_MS);
  await lookAfter(HOUR_MS / 2, -30 * DAY_MS);
  assert.deepEqual(ended, []);
  await lookAfter(DAY_MS);
  assert.deepEqual(ended, ['fix--wikibot']);
});
