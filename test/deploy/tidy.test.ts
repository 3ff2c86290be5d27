import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Builder } from '../../src/build/builder.ts';
import { createLog } from '../../src/core/log.ts';
import { type TidyOptions, tidy } from '../../src/deploy/tidy.ts';
import { Repositories } from '../../src/git/repositories.ts';
import type { Runtime } from '../../src/run/runtime.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { artifactOf, buildOf, deploymentOf, releaseOf, wikibot } from '../support/store-records.ts';

/** Builds that were made elsewhere; it notes which are removed. */
class NotingBuilder implements Builder {
  readonly removed: string[] = [];
  async build(): Promise<never> {
    throw new Error('nothing is built here');
  }
  async tag(): Promise<void> {}
  async remove(_tool: unknown, id: string): Promise<void> {
    this.removed.push(id);
  }
  whyUnusable(): null {
    return null;
  }
  async cleanUp(): Promise<void> {}
  async underWay(): Promise<ReadonlySet<string>> {
    return new Set();
  }
  async takeUp(): Promise<never> {
    throw new Error('nothing is built here');
  }
}

test('as many builds are kept as the setting says, however many config vars were set and rollbacks made', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidy-'));
  const store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
  context.after(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });
  let serial = 0;
  const release = (build: string, isNew: boolean): void => {
    serial += 1;
    const deployment = deploymentOf(isNew ? build : `d${serial}`);
    store.addDeployment(deployment);
    if (isNew) {
      store.addBuild(buildOf(build, build));
      store.endBuild(build, 'BUILD_SUCCESS', artifactOf(build), 2);
    }
    const { version } = store.addRelease(releaseOf(deployment.id, { artifact: artifactOf(build) }));
    store.goLive(wikibot, version, deployment.id, serial);
  };
  for (const build of ['b1', 'b2', 'b3', 'b4']) release(build, true);
  for (let count = 0; count < 6; count++) release('b4', false);
  const builder = new NotingBuilder();
  const inUse = new Set(['b1']);
  const runtime = { artifactsInUse: () => inUse } as unknown as Runtime;
  const repositories = new Repositories({ folder, path: process.env['PATH'] ?? '', deployBranch: 'main' });
  await repositories.ensure(wikibot);
  const options: TidyOptions = {
    ...{ store, repositories, builder, runtime, buildsADay: 9, maxReplicas: 4, log: createLog('error') },
    keepArtifacts: 3,
    whileIdle: (_tool, work) => work(),
    forgetParked: async () => undefined,
  };
  await tidy(options, deploymentOf('d9'));
  assert.deepEqual(builder.removed, [], 'a one-off still runs it');
  inUse.clear();
  await tidy(options, deploymentOf('d9'));
  assert.deepEqual(builder.removed, ['b1']);
  assert.equal(store.build('b2')?.artifact?.id, 'b2');
});
