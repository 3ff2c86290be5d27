import { test } from 'node:test';
import { liveForYears } from '../../support/life-of-a-tool.ts';
import { builderImage } from '../images.ts';
import { ClusterServer } from './cluster-server.ts';

test('in a cluster, a tool goes through config vars, dry run, promotion, preview, failures, crash, rollback, schedules, limits, backup and another server', async () => {
  const start = async () =>
    await ClusterServer.start(await builderImage(), { TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m' });
  await using there = await start();
  await using other = await start();
  await liveForYears(there, other);
});
