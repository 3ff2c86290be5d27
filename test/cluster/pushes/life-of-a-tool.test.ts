import { test } from 'node:test';
import { liveForYears } from '../../support/life-of-a-tool.ts';
import { builderImage } from '../images.ts';
import { ClusterServer } from './cluster-server.ts';

test('in a cluster, one tool still answers after config vars, a dry run, promotion, failures in every phase, a crash, rollback, schedules, limits, a restore and a move to another server', async () => {
  const start = async () =>
    await ClusterServer.start(await builderImage(), { TOOLFORGE_PUSH_POD_CPU_RESERVED: '10m' });
  await using there = await start();
  await using other = await start();
  await liveForYears(there, other);
});
