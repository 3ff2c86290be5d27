import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NullRuntime } from '../../bench/null-back-ends.ts';
import {
  type Builder,
  type BuildRequest,
  BuildResumesLater,
  type FateOf,
  ResumeLater,
} from '../../src/builder/builder.ts';
import { SetAside } from '../../src/core/disk/set-aside.ts';
import { createLog, type Log } from '../../src/core/log/log.ts';
import { commitId } from '../../src/core/names.ts';
import type { Progress } from '../../src/core/progress.ts';
import type { Artifact } from '../../src/core/types.ts';
import type { DeployContext } from '../../src/deploy/deploy-context.ts';
import { DeploymentLogs } from '../../src/deploy/deployment-log.ts';
import type { ParkedPush } from '../../src/deploy/deployments.ts';
import { DeploymentLine, type DeploymentLineOptions } from '../../src/deploy/line/deployment-line.ts';
import { mendRepositories } from '../../src/deploy/reconciliation/read-back-releases.ts';
import { reconcile } from '../../src/deploy/reconciliation/reconcile.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { alice } from '../support/alice.ts';
import { artifactOf, wikibot } from '../support/store-records.ts';

/** A builder whose builds print `one`, wait for `may`, and print `two`. They continue if the server is stopped. */
export class ElsewhereBuilder implements Builder {
  readonly going = new Map<string, { readonly useCache: boolean }>();
  told = Promise.withResolvers<void>();
  may = Promise.withResolvers<void>();
  /** The builds that `cleanUp` was told to keep. */
  readonly spared: string[] = [];
  /** What `cleanUp` was told to do with unknown artifacts: first with a finished one, then with an unfinished one. */
  fatesOfUnknown: readonly string[] = [];
  builds = 0;

  /** Makes the next build wait again. */
  hold(): void {
    this.told = Promise.withResolvers<void>();
    this.may = Promise.withResolvers<void>();
  }

  async build(request: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    this.builds += 1;
    this.going.set(request.id, request);
    return await this.resume(request, progress, signal);
  }

  async resume({ id, useCache }: BuildRequest, progress: Progress, signal: AbortSignal): Promise<Artifact> {
    assert.equal(this.going.get(id)?.useCache, useCache);
    const stopped = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => stopped.reject(signal.reason));
    if (signal.aborted) stopped.reject(signal.reason);
    progress.step('Building');
    progress.line('one');
    const { may } = this;
    this.told.resolve();
    try {
      await Promise.race([may.promise, stopped.promise]);
    } catch (error) {
      if (error instanceof ResumeLater) throw new BuildResumesLater('it goes on');
      throw error;
    }
    progress.line('two');
    this.going.delete(id);
    return artifactOf(id);
  }

  async forget(): Promise<void> {}
  async adopt(): Promise<never> {
    throw new Error('nothing is adopted here');
  }
  async inspect(): Promise<never> {
    throw new Error('nothing is inspected here');
  }

  async resumable(): Promise<ReadonlySet<string>> {
    return new Set(this.going.keys());
  }

  whyUnusable(): null {
    return null;
  }
  async tag(): Promise<void> {}
  async remove(): Promise<void> {}
  async letGo(): Promise<void> {}
  async cleanUp(_tool: unknown, fateOf: FateOf, resumed: ReadonlySet<string>): Promise<void> {
    this.fatesOfUnknown = [fateOf('unknown', true), fateOf('unknown', false)];
    this.spared.push(...resumed);
  }
}

/** A data folder for several servers, one after the other. */
export class Place implements AsyncDisposable {
  readonly folder: string;
  readonly store: SqliteStore;
  readonly repositories: Repositories;
  builder = new ElsewhereBuilder();
  runtime = new NullRuntime();
  buildsADay = 2;
  serverLog: Log = createLog('silent');
  /** Checks whether a person may still deploy. Allows everybody unless a test replaces it. */
  assertStillMay: DeploymentLineOptions['assertStillMay'] = async () => undefined;
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
    const { store, repositories, builder, runtime, buildsADay, serverLog } = this;
    return {
      store,
      repositories,
      builder,
      runtime,
      buildsADay,
      maxReplicas: 4,
      processTypes: 20,
      repositorySize: 2 ** 30,
      log: serverLog,
    };
  }

  /** Starts the queue as a server does. @returns the queue, and how many deployments were resumed. */
  async start(): Promise<{ line: DeploymentLine; resumed: number }> {
    const logs = new DeploymentLogs(join(this.folder, 'deployments'));
    await mendRepositories(this.context, new SetAside(this.folder));
    const resumed = await reconcile(this.context, logs);
    const line = new DeploymentLine({
      ...this.context,
      logs,
      concurrentDeployments: 1,
      treeLimits: { files: 100, bytes: 1_000_000 },
      licencePolicy: 'ignore',
      assertStillMay: (principal, tool, signal) => this.assertStillMay(principal, tool, signal),
      afterEach: async () => undefined,
      recordAgainMs: 20,
    });
    this.#made.push(line);
    const resumeBuilds = await line.resume(resumed);
    resumeBuilds();
    return { line, resumed: resumed.length };
  }

  /** Stores a commit, by default a new child of `oldCommit`, under the temporary ref of a push. */
  async park(id: string, change: Partial<ParkedPush> = {}): Promise<ParkedPush> {
    await this.repositories.ensure(wikibot);
    const git = (args: string[], input?: string) =>
      this.repositories.git(wikibot, args, input === undefined ? {} : { input });
    const blob = await git(['hash-object', '-w', '--stdin'], 'hello\n');
    const tree = await git(['mktree'], `100644 blob ${blob}\thello\n`);
    const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
    const parent = change.oldCommit ? ['-p', change.oldCommit] : [];
    const commit = commitId(change.commit ?? (await git([...who, 'commit-tree', ...parent, '-m', id, tree])));
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
