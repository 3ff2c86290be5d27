import { test } from 'node:test';
import { liveForYears, type Place } from '../../support/life-of-a-tool.ts';
import { TestServer } from '../../support/server.ts';

test('one tool still answers after config vars, a dry run, promotion, failures in every phase, a crash, rollback, schedules, limits, a restore and a move to another server', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_HEALTH_TIME: '20' });
  await using other = await TestServer.start({ TOOLFORGE_PUSH_HEALTH_TIME: '20' });
  const [place, next] = [server, other].map((one) => ({
    server: one,
    get: (tool: string, path?: string) => one.get(tool, path),
  })) as [Place, Place];
  await liveForYears(place, next);
});
