import { test } from 'node:test';
import { liveForYears } from '../../support/life-of-a-tool.ts';
import { TestServer } from '../../support/server.ts';

test('a tool lives for years: config, dry run, promotion, failures in every phase, crash, rollback, schedules, limits, backup', async () => {
  await using server = await TestServer.start({ TOOLFORGE_PUSH_HEALTH_TIME: '20' });
  await liveForYears({ server, get: (tool, path) => server.get(tool, path) });
});
