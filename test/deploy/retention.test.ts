import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { Builder } from '../../src/builder/builder.ts';
import { CleanUpHold } from '../../src/core/concurrency/clean-up-hold.ts';
import { createLog } from '../../src/core/log/log.ts';
import { DeploymentLogs } from '../../src/deploy/deployment-log.ts';
import { dropOldLogs } from '../../src/deploy/old-logs.ts';
import { dropOldReleaseRefs } from '../../src/deploy/old-refs.ts';
import { rollbackTarget } from '../../src/deploy/release/rollback-target.ts';
import { applyRetention, mergePacks, type RetentionOptions } from '../../src/deploy/retention.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { measureRepository } from '../../src/git/repository-size.ts';
import type { Runtime } from '../../src/run/runtime.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { until } from '../support/server.ts';
import {
  artifactOf,
  buildOf,
  deploymentOf,
  otherTool,
  releaseOf,
  wikibot,
} from '../support/store-records.ts';

/** A builder that builds nothing and records which artifacts are removed. */
class NotingBuilder implements Builder {
  readonly removed: string[] = [];
  onRemove: () => void = () => {};
  async build(): Promise<never> {
    throw new Error('nothing is built here');
  }
  async forget(): Promise<void> {}
  async adopt(): Promise<never> {
    throw new Error('nothing is adopted here');
  }
  async inspect(): Promise<never> {
    throw new Error('nothing is inspected here');
  }
  async tag(): Promise<void> {}
  async remove(_tool: unknown, id: string): Promise<void> {
    this.removed.push(id);
    this.onRemove();
  }
  whyUnusable(): null {
    return null;
  }
  async cleanUp(): Promise<void> {}
  async resumable(): Promise<ReadonlySet<string>> {
    return new Set();
  }
  async resume(): Promise<never> {
    throw new Error('nothing is built here');
  }
}

/** Makes an empty data folder, and options for `applyRetention` that keep the artifacts of three builds. */
async function tidied(context: TestContext, key = new SecretsKey(Buffer.alloc(32, 1))) {
  const folder = mkdtempSync(join(tmpdir(), 'tidy-'));
  const store = new SqliteStore(folder, key);
  context.after(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });
  const builder = new NotingBuilder();
  const inUse = new Set<string>();
  const runtime = { artifactsInUse: () => inUse } as unknown as Runtime;
  const repositories = new Repositories({ folder, path: process.env['PATH'] ?? '', deployBranch: 'main' });
  await repositories.ensure(wikibot);
  const options: RetentionOptions = {
    ...{
      store,
      repositories,
      builder,
      runtime,
      buildsADay: 9,
      maxReplicas: 4,
      processTypes: 20,
      repositorySize: 2 ** 30,
      log: createLog('error'),
    },
    logs: new DeploymentLogs(join(folder, 'deployments')),
    keepArtifacts: 3,
    cleanUp: new CleanUpHold(),
    whileIdle: (_tool, work) => work(),
    forgetParked: async () => undefined,
  };
  return { folder, store, repositories, builder, inUse, options };
}

test('the oldest deployment logs of a tool are deleted, except the logs of kept builds, of unfinished deployments and of deployments that the store does not know', async (context) => {
  const { folder, store, options } = await tidied(context);
  const logs = join(folder, 'deployments', wikibot);
  mkdirSync(logs, { recursive: true });
  const id = (count: number) => `20260101-${String(count).padStart(4, '0')}`;
  for (let count = 0; count < 206; count++) {
    if (count !== 2) store.addDeployment(deploymentOf(id(count), count === 3 ? {} : { endedAt: 5 }));
    writeFileSync(join(logs, `${id(count)}.log`), 'line\n');
  }
  store.addBuild(buildOf(id(1), id(1)));
  store.endBuild(id(1), 'BUILD_SUCCESS', artifactOf(id(1)), 2);
  await applyRetention(options, deploymentOf('d9'));
  const left = new Set(readdirSync(logs));
  const gone = Array.from({ length: 206 }, (_, count) => count).filter((n) => !left.has(`${id(n)}.log`));
  // Log 1 belongs to a build that is kept, the store does not know log 2, and the deployment of log 3 has not ended.
  assert.deepEqual(gone, [0, 4, 5]);
});

test('the deployment logs of a tool take at most 1 GiB, but the newest log always stays', async (context) => {
  const { folder, store, options } = await tidied(context);
  const logs = join(folder, 'deployments', wikibot);
  mkdirSync(logs, { recursive: true });
  for (const id of ['a1', 'a2', 'a3', 'a4']) {
    store.addDeployment(deploymentOf(id, { endedAt: 5 }));
    writeFileSync(join(logs, `${id}.log`), '');
    truncateSync(join(logs, `${id}.log`), 500 * 1024 * 1024);
  }
  await applyRetention(options, deploymentOf('d9'));
  assert.deepEqual(readdirSync(logs).sort(), ['a3.log', 'a4.log']);
  truncateSync(join(logs, 'a4.log'), 1100 * 1024 * 1024);
  await applyRetention(options, deploymentOf('d9'));
  assert.deepEqual(readdirSync(logs), ['a4.log']);
});

test('with log_days, old logs of all tools are deleted, except the logs of kept builds; no log is deleted while a backup is made', async (context) => {
  const { folder, store, options } = await tidied(context);
  const now = Date.now();
  const days = 30;
  const old = new Date(now - 31 * 24 * 60 * 60 * 1000);
  for (const [tool, id, isOld] of [
    [wikibot, 'd1', true],
    [wikibot, 'd2', true],
    [wikibot, 'd3', false],
    [otherTool, 'o1', true],
  ] as const) {
    store.tool(tool);
    store.addDeployment(deploymentOf(id, { tool, endedAt: 5 }));
    mkdirSync(join(folder, 'deployments', tool), { recursive: true });
    const path = join(folder, 'deployments', tool, `${id}.log`);
    writeFileSync(path, 'line\n');
    if (isOld) utimesSync(path, old, old);
  }
  store.addBuild(buildOf('d2', 'd2'));
  store.endBuild('d2', 'BUILD_SUCCESS', artifactOf('d2'), 2);
  const asked: string[] = [];
  const runtime = {
    dropOldLogs: async (tool: string, before: number) => void asked.push(`${tool} ${now - before}`),
  } as unknown as Runtime;
  const logs = new DeploymentLogs(join(folder, 'deployments'), days);
  const { cleanUp, log } = options;
  const { signal } = new AbortController();
  const left = () =>
    [wikibot, otherTool].flatMap((tool) => readdirSync(join(folder, 'deployments', tool)).sort());
  const held = { unlessHeld: async () => {} };
  await dropOldLogs({ store, runtime, logs, days, cleanUp: held, log }, now, signal);
  assert.equal(left().length, 4);
  await dropOldLogs({ store, runtime, logs, days, cleanUp, log }, now, signal);
  assert.deepEqual(left(), ['d2.log', 'd3.log']);
  assert.deepEqual(asked.sort(), [`other-tool ${days * 86_400_000}`, `wikibot ${days * 86_400_000}`]);
});

test('threat 142: if the artifacts that are kept for rollbacks of a tool exceed the allowed bytes, the oldest are deleted, but never the two newest', async (context) => {
  const { store, builder, options } = await tidied(context);
  for (const id of ['b1', 'b2', 'b3', 'b4', 'b5']) {
    store.addDeployment(deploymentOf(id));
    store.addBuild(buildOf(id, id));
    const artifact = { ...artifactOf(id), bytes: 100 };
    store.endBuild(id, 'BUILD_SUCCESS', artifact, 2);
    const { version } = store.addRelease(releaseOf(id, { artifact }));
    store.goLive(wikibot, version, id, version);
  }
  const keep = { ...options, keepArtifacts: 10 };
  await applyRetention({ ...keep, mostBytes: async () => 500 }, deploymentOf('b5'));
  assert.deepEqual(builder.removed, []);
  await applyRetention({ ...keep, mostBytes: async () => 399 }, deploymentOf('b5'));
  assert.deepEqual(builder.removed.sort(), ['b1', 'b2']);
  await applyRetention({ ...keep, mostBytes: async () => 1 }, deploymentOf('b5'));
  assert.deepEqual(builder.removed.sort(), ['b1', 'b2', 'b3']);
});

test('the clean-up of a tool with 5,000 builds and releases takes less than 120 ms of the event loop before its deletions', async (context) => {
  const { folder, store, builder, options } = await tidied(context);
  store.tool(wikibot);
  using database = new DatabaseSync(join(folder, 'store.sqlite'));
  database.exec(`BEGIN;
    CREATE TEMP TABLE many AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
      SELECT n, 'b' || n AS id, json_object('id', 'b' || n, 'text', hex(zeroblob(5000))) AS artifact FROM n;
    INSERT INTO deployments (id, tool, kind, state, "commit", "by", door, credential, created_at, ended_at)
      SELECT id, 'wikibot', 'push', 'live', 'a', 'alice', 'ssh', '', ${Date.now()}, 5 FROM many;
    INSERT INTO builds (id, tool, "commit", deployment_id, state, artifact, started_at, ended_at)
      SELECT id, 'wikibot', 'a', id, 'BUILD_SUCCESS', artifact, ${Date.now()}, 5 FROM many;
    INSERT INTO releases
      (tool, version, state, "commit", artifact, config_vars, description, "by", credential, deployment_id, created_at)
      SELECT 'wikibot', n, 'replaced', 'a', artifact, x'00', '', 'alice', '', id, ${Date.now()} FROM many;
    COMMIT;
    PRAGMA wal_checkpoint(TRUNCATE)`);
  await wait(20);
  const cleanUp = { unlessHeld: async (work: () => Promise<void>) => void (await work()) };
  const runtime = { artifactsInUse: () => new Set() } as unknown as Runtime;
  // Ends the clean-up after three artifacts, because it would delete almost all of the 5,000 one by one.
  builder.onRemove = () => {
    if (builder.removed.length === 3) throw new Error('enough was removed');
  };
  const before = mainThreadMs();
  await assert.rejects(
    applyRetention({ ...options, runtime, cleanUp }, deploymentOf('d9')),
    /enough was removed/,
  );
  const spentMs = mainThreadMs() - before;
  assert.ok(spentMs < 120, `the clean-up took ${Math.round(spentMs)} ms of the event loop`);
});

/** The processor time of the thread of the event loop, which other programs of the machine do not change. */
function mainThreadMs(): number {
  const [ran] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
  return Number(ran) / 1e6;
}

test('keep_artifacts counts builds, not releases, and an older artifact stays while a one-off uses it', async (context) => {
  const { store, builder, inUse, options } = await tidied(context);
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
  inUse.add('b1');
  await applyRetention(options, deploymentOf('d9'));
  assert.deepEqual(builder.removed, [], 'a one-off still runs it');
  inUse.clear();
  await applyRetention(options, deploymentOf('d9'));
  assert.deepEqual(builder.removed, ['b1']);
  assert.equal(store.build('b2')?.artifact?.id, 'b2');
});

/** What `rollbackTarget` needs of the repositories of a server whose setting deploy_branch is `live`. */
const repositories = { deployBranch: 'live' };

test('deleting old artifacts decrypts no config vars, and a rollback decrypts only those of two releases', async (context) => {
  let opened = 0;
  class CountingKey extends SecretsKey {
    override decrypt(...args: Parameters<SecretsKey['decrypt']>): string {
      opened += 1;
      return super.decrypt(...args);
    }
  }
  const { store, options } = await tidied(context, new CountingKey(Buffer.alloc(32, 1)));
  for (let count = 1; count <= 20; count += 1) {
    const id = `d${count}`;
    store.addDeployment(deploymentOf(id));
    store.addBuild(buildOf(id, id));
    store.endBuild(id, 'BUILD_SUCCESS', artifactOf(id), 2);
    const { version } = store.addRelease(
      releaseOf(id, { artifact: artifactOf(id), configVars: { A: 'x'.repeat(1000) } }),
    );
    store.goLive(wikibot, version, id, count);
  }
  opened = 0;
  await applyRetention(options, deploymentOf('d21'));
  assert.equal(opened, 0);
  const live = store.release(wikibot, 20);
  assert.ok(live !== null);
  assert.equal((await rollbackTarget({ store, repositories }, live, null)).version, 19);
  assert.equal(opened, 2);
});

test('a rollback skips older releases with the build and the config vars of the live release', async (context) => {
  const { store } = await tidied(context);
  const versions = [
    ['b1', '1'],
    ['b2', '1'],
    ['b1', '1'],
    ['b1', '1'],
  ].map(([build = '', value = ''], index) => {
    const id = `d${index}`;
    store.addDeployment(deploymentOf(id));
    if (index < 2) {
      store.addBuild(buildOf(build, id));
      store.endBuild(build, 'BUILD_SUCCESS', artifactOf(build), 2);
    }
    const { version } = store.addRelease(
      releaseOf(id, { artifact: artifactOf(build), configVars: { A: value } }),
    );
    store.goLive(wikibot, version, id, index);
    return version;
  });
  const live = store.release(wikibot, versions.at(-1) ?? 0);
  assert.ok(live !== null);
  assert.equal((await rollbackTarget({ store, repositories }, live, null)).version, versions[1]);
  store.forgetArtifact('b2');
  await assert.rejects(rollbackTarget({ store, repositories }, live, versions[1] ?? 0), {
    code: 'ARTIFACT_GONE',
    hint: /git push -f toolforge 'releases\/v2\^\{\}:refs\/heads\/live'$/,
  });
  const changed = { ...live, configVars: { A: '2' } };
  assert.equal((await rollbackTarget({ store, repositories }, changed, null)).version, versions[2]);
});

test('threat 129: a rollback that compares 120 equal releases with large config vars never holds up the server for more than 200 ms at a time', async (context) => {
  const { store } = await tidied(context);
  const artifact = artifactOf('b1');
  const configVars = Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [`V${index}`, 'x'.repeat(32 * 1024)]),
  );
  for (let count = 1; count <= 120; count += 1) {
    store.addDeployment(deploymentOf(`d${count}`));
    const { version } = store.addRelease(releaseOf(`d${count}`, { artifact, configVars }));
    store.goLive(wikibot, version, `d${count}`, count);
  }
  const live = store.release(wikibot, 120);
  assert.ok(live !== null);
  // Processor time, because other programs may have the processors meanwhile.
  let longestMs = 0;
  let before = process.threadCpuUsage();
  const look = () => {
    const { user, system } = process.threadCpuUsage(before);
    longestMs = Math.max(longestMs, (user + system) / 1000);
    before = process.threadCpuUsage();
  };
  const clock = setInterval(look, 1);
  context.after(() => clearInterval(clock));
  await assert.rejects(rollbackTarget({ store, repositories }, live, null), { code: 'NO_RELEASE' });
  look();
  assert.ok(longestMs < 200, `${longestMs} ms`);
});

test('threat 82: the server packs a repository’s refs only while nothing else changes them', async (context) => {
  const { repositories, options } = await tidied(context);
  const repository = repositories.folder(wikibot);
  const tree = await repositories.git(wikibot, ['mktree'], { input: '' });
  const author = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
  const commit = await repositories.git(wikibot, [...author, 'commit-tree', '-m', 'x', tree]);
  await repositories.git(wikibot, ['update-ref', 'refs/heads/main', commit]);
  // git estimates the number of objects from the folder 17 alone, so 12 objects in it look like thousands.
  for (let count = 0; folderCount(repository) < 12; count += 1) {
    const text = `${count}`;
    const id = createHash('sha1').update(`blob ${text.length}\0${text}`).digest('hex');
    if (id.startsWith('17'))
      await repositories.git(wikibot, ['hash-object', '-w', '--stdin'], { input: text });
  }
  const letGo = await repositories.takeRefs(wikibot);
  const tidying = applyRetention(options, deploymentOf('d1'));
  const packs = join(repository, 'objects/pack');
  const isPacked = () => existsSync(packs) && readdirSync(packs).some((name) => name.endsWith('.pack'));
  await until(async () => isPacked(), 'objects are packed');
  assert.ok(!existsSync(join(repository, 'packed-refs')));
  letGo();
  await tidying;
  assert.ok(existsSync(join(repository, 'packed-refs')));
});

function folderCount(repository: string): number {
  const folder = join(repository, 'objects/17');
  return existsSync(folder) ? readdirSync(folder).length : 0;
}

test('threat 60: if a push stays open for long, artifacts of earlier builds are still deleted from the disk', async (context) => {
  const { store, builder, options } = await tidied(context);
  for (const build of ['b1', 'b2', 'b3', 'b4']) {
    store.addDeployment(deploymentOf(build));
    store.addBuild(buildOf(build, build));
    store.endBuild(build, 'BUILD_SUCCESS', artifactOf(build), 2);
    const { version } = store.addRelease(releaseOf(build, { artifact: artifactOf(build) }));
    store.goLive(wikibot, version, build, version);
  }
  const held = Promise.withResolvers<void>();
  const whileIdle = () => held.promise;
  const done = applyRetention({ ...options, whileIdle, heldMs: 20 }, deploymentOf('d9'));
  await until(async () => builder.removed.includes('b1'), 'b1 is removed');
  held.resolve();
  await done;
});

test('threat 37: a small pack of large files that no ref names stays small when git packs the repository', async (context) => {
  const { folder, repositories } = await tidied(context);
  const packs = join(folder, 'wikibot.git/objects/pack');
  const git = (args: string[], input?: string | Buffer) =>
    repositories.git(wikibot, args, input === undefined ? {} : { input: String(input) });
  const base = createHash('sha256').update('base').digest('hex').repeat(16_384);
  const ids: string[] = [];
  for (let count = 0; count < 20; count += 1)
    ids.push(await git(['hash-object', '-w', '--stdin'], `${base}${count}`));
  await git(['pack-objects', '-q', join(packs, 'pack')], ids.join('\n'));
  const small = await git(['hash-object', '-w', '--stdin'], 'x');
  const name = await git(['pack-objects', '-q', join(packs, 'pack')], small);
  await git(['prune-packed']);
  for (let index = 0; index < 60; index += 1) {
    for (const end of ['pack', 'idx'])
      copyFileSync(
        join(packs, `pack-${name}.${end}`),
        join(packs, `pack-${String(index).padStart(40, '0')}.${end}`),
      );
  }
  const before = await measureRepository(repositories, wikibot);
  await mergePacks(repositories, wikibot);
  const { bytes, packs: left } = await measureRepository(repositories, wikibot);
  assert.ok(left < 5);
  assert.ok(bytes < before.bytes + 2 ** 20, `${before.bytes} bytes became ${bytes}`);
});

test('threat 243: git packs only one repository at a time; meanwhile, the clean-up of another tool leaves its packs alone and does not wait', async (context) => {
  const { folder, repositories } = await tidied(context);
  const packs = join(folder, 'wikibot.git/objects/pack');
  for (let count = 0; count < 52; count += 1) {
    const id = await repositories.git(wikibot, ['hash-object', '-w', '--stdin'], { input: `${count}` });
    await repositories.git(wikibot, ['pack-objects', '-q', join(packs, 'pack')], { input: id });
  }
  const count = async () => (await measureRepository(repositories, wikibot)).packs;
  const held = Promise.withResolvers<void>();
  const other = repositories.turns.mergeAlone(() => held.promise);
  await mergePacks(repositories, wikibot);
  assert.equal(await count(), 52);
  held.resolve();
  await other;
  await mergePacks(repositories, wikibot);
  assert.ok((await count()) < 5);
});

test('threat 229: refs/releases/vN is deleted if N is not among the newest 1,000 releases and not in the store, because many refs slow down clones', async (context) => {
  const { store, repositories, options } = await tidied(context);
  const git = (args: string[], input: string) => repositories.git(wikibot, args, { input });
  const tree = await git(['mktree'], '');
  const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
  const commit = await git([...who, 'commit-tree', '-m', 'one', tree], '');
  const versions = Array.from({ length: 1100 }, (_, index) => index + 1);
  await git(
    ['update-ref', '--stdin'],
    versions.map((version) => `create refs/releases/v${version} ${commit}\n`).join(''),
  );
  const knowing = async (known: readonly number[]) => {
    const releaseCommits = () => new Map(known.map((version) => [version, commit]));
    const partly = Object.assign(Object.create(store), { releaseCommits });
    await dropOldReleaseRefs({ ...options, store: partly }, wikibot);
    const names = await git(['for-each-ref', '--format=%(refname:lstrip=2)', 'refs/releases'], '');
    return names
      .split('\n')
      .map((name) => Number(name.slice(1)))
      .sort((a, b) => a - b);
  };
  // If the store knows no release, for example after a loss, no ref is deleted.
  assert.deepEqual(await knowing([]), versions);
  assert.deepEqual(await knowing([5, ...versions.slice(-100)]), [5, ...versions.slice(100)]);
});
