import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NullRuntime } from '../../bench/null-back-ends.ts';
import { type Builder, BuildGoesOn, type BuildRequest, HandOver } from '../../src/build/builder.ts';
import { createLog } from '../../src/core/log.ts';
import { commitId } from '../../src/core/names.ts';
import type { Progress } from '../../src/core/progress.ts';
import type { Artifact } from '../../src/core/types.ts';
import type { DeployContext } from '../../src/deploy/deploy-context.ts';
import { DeploymentLine } from '../../src/deploy/deployment-line.ts';
import { DeploymentLogs } from '../../src/deploy/deployment-log.ts';
import type { ParkedPush } from '../../src/deploy/deployments.ts';
import { reconcile } from '../../src/deploy/reconcile.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { alice } from '../support/alice.ts';
import { artifactOf, wikibot } from '../support/store-records.ts';

/** Builds elsewhere: a build prints `one`, waits, prints `two`, and goes on when its server is stopped. */
class ElsewhereBuilder implements Builder {
  readonly going = new Map<string, { readonly useCache: boolean }>();
  readonly told = Promise.withResolvers<void>();
  readonly may = Promise.withResolvers<void>();
  /** What cleaning up was told to spare. */
  readonly spared: string[] = [];
  builds = 0;

  async build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    this.builds += 1;
    this.going.set(request.id, request);
    return await this.takeUp(request, progress, signal);
  }

  async takeUp({ id, useCache }: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    assert.equal(this.going.get(id)?.useCache, useCache);
    const stopped = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => stopped.reject(signal.reason));
    if (signal.aborted) stopped.reject(signal.reason);
    progress.step('Building');
    progress.line('one');
    this.told.resolve();
    try {
      await Promise.race([this.may.promise, stopped.promise]);
    } catch (error) {
      if (error instanceof HandOver) throw new BuildGoesOn('it goes on');
      throw error;
    }
    progress.line('two');
    this.going.delete(id);
    return artifactOf(id);
  }

  async underWay(): Promise<ReadonlySet<string>> {
    return new Set(this.going.keys());
  }

  whyUnusable(): null {
    return null;
  }
  async tag(): Promise<void> {}
  async remove(): Promise<void> {}
  async cleanUp(_tool: unknown, _keep: unknown, takenUp: ReadonlySet<string>): Promise<void> {
    this.spared.push(...takenUp);
  }
}

class Place implements AsyncDisposable {
  readonly folder: string;
  readonly store: SqliteStore;
  readonly repositories: Repositories;
  builder = new ElsewhereBuilder();
  readonly #made: DeploymentLine[] = [];

  constructor(folder: string) {
    this.folder = folder;
    this.store = new SqliteStore(folder, new SecretsKey(Buffer.alloc(32, 1)));
    const path = process.env['PATH'] ?? '';
    this.repositories = new Repositories({
      folder: join(folder, 'repositories'),
      path,
      deployBranch: 'main',
    });
  }

  static async make(): Promise<Place> {
    return new Place(await mkdtemp(join(tmpdir(), 'taken-up-')));
  }

  get context(): DeployContext {
    const { store, repositories, builder } = this;
    return {
      store,
      repositories,
      builder,
      runtime: new NullRuntime(),
      buildsADay: 2,
      maxReplicas: 4,
      log: createLog('silent'),
    };
  }

  /** What a server does at its start. @returns its line, and how many deployments it took up. */
  async start(): Promise<{ line: DeploymentLine; takenUp: number }> {
    const logs = new DeploymentLogs(join(this.folder, 'deployments'));
    const takenUp = await reconcile(this.context, logs);
    const line = new DeploymentLine({
      ...this.context,
      logs,
      concurrentDeployments: 1,
      treeLimits: { files: 100, bytes: 1_000_000 },
      licencePolicy: 'ignore',
      afterEach: async () => undefined,
    });
    this.#made.push(line);
    const goOn = await line.takeUp(takenUp);
    goOn();
    return { line, takenUp: takenUp.length };
  }

  /** A push whose objects git has stored. */
  async park(id: string, change: Partial<ParkedPush> = {}): Promise<ParkedPush> {
    await this.repositories.ensure(wikibot);
    const git = (args: string[], input?: string) =>
      this.repositories.git(wikibot, args, input === undefined ? {} : { input });
    const blob = await git(['hash-object', '-w', '--stdin'], 'hello\n');
    const tree = await git(['mktree'], `100644 blob ${blob}\thello\n`);
    const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
    const commit = commitId(change.commit ?? (await git([...who, 'commit-tree', '-m', id, tree])));
    assert.ok(commit !== null);
    await git(['update-ref', `refs/deployments/${id}`, commit]);
    const push = {
      id,
      tool: wikibot,
      commit,
      oldCommit: null,
      principal: alice,
      message: null,
      useCache: true,
    };
    return { ...push, withUpdates: [], branchRef: 'refs/heads/main', ...change };
  }

  log(id: string): string {
    return readFileSync(join(this.folder, 'deployments', wikibot, `${id}.log`), 'utf8');
  }

  ref(name: string): Promise<string> {
    return this.repositories.git(wikibot, ['for-each-ref', '--format=%(objectname)', name]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#made.map((line) => line.close()));
    this.store.close();
    await rm(this.folder, { recursive: true });
  }
}

test('a build that goes on is handed over, taken up and goes live with the refs of its push', async () => {
  await using place = await Place.make();
  const push = await place.park('p1', { useCache: false });
  const tag = `update refs/tags/one ${push.commit} ${'0'.repeat(40)}`;
  const first = await place.start();
  const { verdict } = await first.line.submit({ ...push, withUpdates: [tag] });
  await place.builder.told.promise;
  await first.line.close();
  const told = await verdict;
  assert.ok(!told.isLive);
  assert.match(told.reason, /the build goes on.*push again then to follow it; nothing is live yet$/);
  assert.match(
    place.log('p1'),
    / ! {5}The server is being stopped; the build goes on, and the server takes it up/,
  );
  assert.equal(place.store.deployment('p1')?.state, 'building');
  assert.equal(place.store.build('p1')?.state, 'BUILD_RUNNING');
  const { startedAt } = place.store.deployment('p1') ?? {};

  const second = await place.start();
  assert.equal(second.takenUp, 1);
  assert.deepEqual(place.builder.spared, ['p1']);
  assert.equal(place.store.deployment('p1')?.state, 'building');
  assert.doesNotMatch(place.log('p1'), /Interrupted/);
  const joining = await second.line.submit(await place.park('p2', { commit: push.commit }));
  assert.deepEqual([joining.id, joining.isJoined], ['p1', true]);
  place.builder.may.resolve();
  assert.deepEqual(await joining.verdict, { isLive: true, version: 1 });
  assert.equal(place.builder.builds, 1);
  assert.equal(await place.ref('refs/heads/main'), push.commit);
  assert.equal(await place.ref('refs/tags/one'), push.commit);
  assert.equal(await place.ref('refs/deployments'), '');
  assert.equal(place.store.build('p1')?.state, 'BUILD_SUCCESS');
  assert.equal(place.store.deployment('p1')?.startedAt, startedAt);
  assert.deepEqual(
    place
      .log('p1')
      .split('\n')
      .filter((line) => /Building|one|two/.test(line) && !/Push from/.test(line)),
    ['-----> Building', '       one', '       two'],
  );
});

test('a redeploy is taken up as one, counts as one build, and says who asked for it once', async () => {
  await using place = await Place.make();
  place.builder.may.resolve();
  const { line } = await place.start();
  assert.ok((await (await line.submit(await place.park('p1'))).verdict).isLive);
  await line.close();
  place.builder = new ElsewhereBuilder();
  const first = await place.start();
  const { id } = first.line.redeploy(wikibot, { useCache: false }, alice);
  await place.builder.told.promise;
  await first.line.close();
  const { line: second, takenUp } = await place.start();
  assert.equal(takenUp, 1);
  place.builder.may.resolve();
  for await (const _ of second.follow(id, { isColoured: false, signal: AbortSignal.timeout(5000) }));
  const { state, version } = place.store.deployment(id) ?? {};
  assert.deepEqual([state, version], ['live', 2]);
  assert.equal(place.log(id).match(/-----> Redeploy of/g)?.length, 1);
});

for (const { name, change } of [
  { name: 'whose build is gone', change: (place: Place) => place.builder.going.clear() },
  {
    name: 'whose commit is gone',
    change: (place: Place) => place.repositories.git(wikibot, ['update-ref', '-d', 'refs/deployments/p1']),
  },
  {
    name: 'whose build cannot be asked for',
    change: (place: Place) => {
      place.builder.underWay = () => Promise.reject(new Error('the cluster is away'));
    },
  },
]) {
  test(`a deployment ${name} is interrupted at the next start`, async () => {
    await using place = await Place.make();
    const push = await place.park('p1');
    const { line } = await place.start();
    await line.submit(push);
    await place.builder.told.promise;
    await line.close();
    await change(place);
    const { takenUp } = await place.start();
    assert.equal(takenUp, 0);
    assert.equal(place.store.deployment('p1')?.state, 'interrupted');
    assert.equal(place.store.build('p1')?.state, 'BUILD_UNKNOWN');
    assert.deepEqual(place.builder.spared, []);
    assert.match(place.log('p1'), /Interrupted: the server was restarted\. Push again\.\n$/);
  });
}

test('who cancels a build ends it, also while the server is being stopped', async () => {
  await using place = await Place.make();
  const push = await place.park('p1');
  const { line } = await place.start();
  const { verdict } = await line.submit(push);
  await place.builder.told.promise;
  line.cancel(wikibot, null, alice);
  await line.close();
  assert.deepEqual(await verdict, { isLive: false, reason: 'cancelled by alice; nothing is live yet' });
  assert.equal(place.store.deployment('p1')?.state, 'cancelled');
});
