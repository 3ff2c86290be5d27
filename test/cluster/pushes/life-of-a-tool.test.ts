import { test } from 'node:test';
import { liveForYears } from '../../support/life-of-a-tool.ts';
import { builderImage } from '../images.ts';
import { ClusterServer } from './cluster-server.ts';

test('a tool lives for years in a cluster: config, dry run, promotion, preview, failures in every phase, crash, rollback, schedules, limits, backup, another server', async () => {
  const start = async () =>
    await ClusterServer.start(await builderImage(), { TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m' });
  await using there = await start();
  await using other = await start();
  await liveForYears(there, other);
});
