import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BuildResumesLater, ResumeLater } from '../../../src/builder/builder.ts';
import { progressTo } from '../../../src/core/progress.ts';
import { AHarbor } from '../../builder/registry/a-harbor.ts';
import { failsWith } from '../../builder/support/with-builder.ts';
import { checkOut } from '../../contracts/builder.ts';
import { until } from '../../support/server.ts';
import { AClusterBuilder } from './a-cluster-builder.ts';
import { scriptBuilderImage } from './script-builder.ts';

const MIB = 1024 * 1024;
let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'harbor-'));
});
after(() => rm(folder, { recursive: true }));

async function open(harbor: AHarbor): Promise<AClusterBuilder> {
  const password = join(folder, 'password');
  await writeFile(password, `${harbor.credentials.password}\n`);
  return await AClusterBuilder.open({
    config: {
      builder_image: await scriptBuilderImage(),
      harbor_url: harbor.url,
      harbor_user: harbor.credentials.user,
      harbor_password_file: password,
      harbor_project_size: 1024 * MIB,
    },
  });
}

test('with Harbor, a build creates the tool’s project and pushes with an account that is deleted after the build', async () => {
  await using harbor = await AHarbor.open();
  await using builder = await open(harbor);
  const artifact = await builder.build(checkOut({ 'build.sh': 'true' }));
  assert.match(artifact.reference, /@sha256:/);
  const project = builder.registry.split('/')[1] ?? '';
  assert.ok(harbor.projects.has(project));
  assert.equal(
    harbor.asked.filter((line) => line === 'POST /api/v2.0/robots' || line === 'POST /robots').length,
    1,
  );
  assert.equal(harbor.robots.size, 0);
});

test('threat 70: if the tool’s Harbor project has no room, the build fails with the used and the allowed size', async () => {
  await using harbor = await AHarbor.open();
  await using builder = await open(harbor);
  await builder.build(checkOut({ 'build.sh': 'true' }));
  for (const project of harbor.projects.values()) project.used = project.hard;
  await assert.rejects(
    builder.build(checkOut({ 'build.sh': 'true' })),
    failsWith('REGISTRY_FULL', /take 1024 MiB of their quota of 1024 MiB/),
  );
});

test('with Harbor, the account of a build that will be resumed is kept until the build ends', async () => {
  await using harbor = await AHarbor.open();
  await using builder = await open(harbor);
  const request = builder.request(checkOut({ 'build.sh': 'echo here; sleep 10' }));
  const stop = new AbortController();
  const stopping = progressTo((text) => {
    if (text.includes('here')) stop.abort(new ResumeLater());
  });
  await assert.rejects(builder.builder.build(request, stopping, stop.signal), BuildResumesLater);
  assert.equal(harbor.robots.size, 1);
  const silent = progressTo(() => {});
  // The server stops again before it has read any output of the build.
  const again = AbortSignal.abort(new ResumeLater());
  await assert.rejects(builder.builder.resume(request, silent, again), BuildResumesLater);
  await builder.builder.resume(request, silent, new AbortController().signal);
  assert.equal(harbor.robots.size, 0);
  // The pod and the Secrets of a build are deleted a moment after its Job.
  await until(async () => (await builder.leftovers()).length === 0, 'nothing of it is left', 60_000);
});
