import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { SetAside } from '../../src/core/disk/set-aside.ts';
import { createLog } from '../../src/core/log/log.ts';
import type { CommitId, ToolName } from '../../src/core/names.ts';
import { DeploymentLogs } from '../../src/deploy/deployment-log.ts';
import { mendRepositories, readBackReleases } from '../../src/deploy/reconciliation/read-back-releases.ts';
import { reconcile } from '../../src/deploy/reconciliation/reconcile.ts';
import { type DataConfig, readDataFacts, repositoriesOf } from '../../src/recovery/data-facts.ts';
import { assertStartable, examine } from '../../src/recovery/examine.ts';
import { expectedLive } from '../../src/recovery/expected-live.ts';
import { restoreStore } from '../../src/recovery/restore.ts';
import { startOvers } from '../../src/recovery/start-over.ts';
import { Backups } from '../../src/store/backups/backups.ts';
import { SecretsKey } from '../../src/store/secrets.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { Place } from '../deploy/place.ts';
import { buildOf, deploymentOf, nameOf, releaseOf, wikibot } from '../support/store-records.ts';

const path = process.env['PATH'] ?? '';

/** The data folder that a stopped server has left, with v1 to v3 of wikibot, and a backup of its store from the time of v1. */
class Left {
  readonly folder: string;
  readonly backup: string;
  readonly commits: readonly CommitId[];

  private constructor(folder: string, backup: string, commits: readonly CommitId[]) {
    this.folder = folder;
    this.backup = backup;
    this.commits = commits;
  }

  static async make(): Promise<Left> {
    const place = await Place.make();
    place.buildsADay = 9;
    await mkdir(join(place.folder, 'keys'));
    await writeFile(join(place.folder, 'keys/secrets.key'), Buffer.alloc(32, 1), { mode: 0o600 });
    const { line } = await place.start();
    place.builder.may.resolve();
    const commits: CommitId[] = [];
    let backup = '';
    for (const id of ['p1', 'p2', 'p3']) {
      const push = await place.park(id, { oldCommit: commits.at(-1) ?? null });
      assert.ok((await (await line.submit(push)).verdict).isLive);
      commits.push(push.commit);
      if (id === 'p1') backup = await new Backups(place.folder).backUpStore();
    }
    await line.close();
    place.store.close();
    return new Left(place.folder, backup, commits);
  }

  get config(): DataConfig {
    const keys = join(this.folder, 'keys');
    return { data: this.folder, keys, runtime: 'kubernetes', directory: 'ldap', deploy_branch: 'main' };
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  git(...args: string[]): Promise<string> {
    return repositoriesOf(this.config, path).git(wikibot, args);
  }

  async loseRepository(): Promise<void> {
    await rm(this.file(`repositories/${wikibot}.git`), { recursive: true });
  }

  /** Replaces the store with the backup that was made when v1 was live. */
  async bringOldStore(): Promise<void> {
    for (const name of ['store.sqlite-wal', 'store.sqlite-shm']) await rm(this.file(name), { force: true });
    await copyFile(this.backup, this.file('store.sqlite'));
  }

  change(sql: string): void {
    const store = new DatabaseSync(this.file('store.sqlite'));
    store.exec(sql);
    store.close();
  }

  /** Starts a server, and asserts that `doctor` predicted the live version, and that no newer release is good. */
  async start(version: number | null): Promise<Place> {
    const facts = await readDataFacts(this.config);
    // There is only one tool, so if its repository is lost, all repositories are. Ignore the finding that says so.
    assertStartable(examine(facts).filter(({ what }) => !what.startsWith('the repositories of')));
    assert.deepEqual(
      expectedLive(facts).map((live) => live.version),
      version === null ? [] : [version],
    );
    const place = new Place(this.folder);
    await place.start();
    assert.equal(place.store.tool(wikibot).liveVersion, version);
    const [first] = place.store.releases(wikibot, 10).filter(({ state }) => state !== 'failed');
    assert.equal(first?.version ?? null, version);
    assert.equal(first?.state ?? 'live', 'live');
    return place;
  }
}

test('threat 87: if the repository is lost and the store is an old backup, the newest release is read from its copy in the folder releases, and is live', async () => {
  const left = await Left.make();
  await left.bringOldStore();
  await left.loseRepository();
  await using place = await left.start(3);
  assert.deepEqual(
    place.store.releases(wikibot, 10).map(({ version, state }) => [version, state]),
    [
      [3, 'live'],
      [2, 'replaced'],
      [1, 'replaced'],
    ],
  );
});

test('threat 87: `start-over store` reads the releases of a tool without a repository from their copies in the folder releases', async () => {
  const left = await Left.make();
  await left.loseRepository();
  await startOvers.store(left.config, path);
  await using _place = await left.start(3);
});

test('threat 87: with a lost repository, an old store and a torn copy of the newest release in the folder releases, the server refuses to start; `start-over releases` makes the release before it live', async () => {
  const left = await Left.make();
  await left.bringOldStore();
  await left.loseRepository();
  await writeFile(left.file(`releases/${wikibot}/v3.json`), '{');
  await assert.rejects(left.start(3), {
    code: 'DATA_DISAGREES',
    hint: /v3\.json.*start-over releases.*\(v2\)/,
  });
  const told = (await startOvers.releases(left.config, path)).join('\n');
  assert.match(told, /continues with v2/);
  const at = /set-aside\/\S+v3\.json/.exec(told)?.[0] ?? assert.fail(told);
  assert.equal(await readFile(left.file(at), 'utf8'), '{');
  await using place = await left.start(2);
  assert.equal(place.store.newerCopies(wikibot).length, 0);
});

test('threat 87: a live release that is missing in the store and in the refs is read from its copy in the folder releases', async () => {
  const left = await Left.make();
  left.change('DELETE FROM releases WHERE version = 3');
  await rm(left.file(`repositories/${wikibot}.git/refs/releases/v3`), { force: true });
  await using place = await left.start(3);
  assert.equal(await place.ref('refs/heads/main'), left.commits[2]);
});

test('threat 87: if neither the store nor the folder releases has the live release, the server refuses to start; `start-over releases` makes the newest known release live', async () => {
  const left = await Left.make();
  left.change('UPDATE tools SET live_version = 7');
  await assert.rejects(left.start(3), { code: 'DATA_DISAGREES', hint: /start-over releases.*\(v3\)/ });
  await startOvers.releases(left.config, path);
  await using place = await left.start(3);
  assert.equal(await place.ref('refs/heads/main'), left.commits[2]);
});

test('threat 87: if no release of a tool is known, `start-over releases` leaves nothing live and sets the branch aside', async () => {
  const left = await Left.make();
  left.change('DELETE FROM releases');
  await rm(left.file(`releases/${wikibot}`), { recursive: true });
  await assert.rejects(left.start(3), { code: 'DATA_DISAGREES' });
  await startOvers.releases(left.config, path);
  await using place = await left.start(null);
  assert.equal(await place.ref('refs/heads/main'), '');
  assert.equal((await place.ref('refs/set-aside')).includes(left.commits[2] ?? ''), true);
});

/** Behaves like a server that is killed right after it has set something aside. */
class KilledOnce extends SetAside {
  override async move(from: string): Promise<string | null> {
    await super.move(from);
    throw new Error('killed');
  }
  override async copy(from: string): Promise<string | null> {
    await super.copy(from);
    throw new Error('killed');
  }
}

async function startKilled(left: Left): Promise<void> {
  const place = new Place(left.folder);
  await assert.rejects(mendRepositories(place.context, new KilledOnce(left.folder)), /killed/);
  place.store.close();
}

test('threat 82: a start that is killed while it repairs packed-refs loses no tag', async () => {
  const left = await Left.make();
  await left.git('tag', 'kept', left.commits[0] ?? '');
  await left.git('pack-refs', '--all');
  const packed = left.file(`repositories/${wikibot}.git/packed-refs`);
  await writeFile(packed, `${await readFile(packed, 'utf8')}0123456789ab`);
  await startKilled(left);
  await using place = await left.start(3);
  assert.equal(await place.ref('refs/tags/kept'), left.commits[0]);
});

test('threat 82: a start that is killed while it repairs the torn ref of a release does not lose the release', async () => {
  const left = await Left.make();
  await left.bringOldStore();
  await writeFile(left.file(`repositories/${wikibot}.git/refs/releases/v3`), '');
  await startKilled(left);
  await using place = await left.start(3);
  assert.equal(await place.ref('refs/heads/main'), left.commits[2]);
});

test('threat 87: `restore store` warns that deploy tokens that were revoked since the backup are valid again, and says how to revoke them', async () => {
  const left = await Left.make();
  const place = new Place(left.folder);
  const token = { tool: wikibot, name: 'ci', scope: 'deploy', by: 'alice', lastUsedAt: null } as const;
  place.store.addToken({ ...token, id: 'a', createdAt: 1, expiresAt: 2 }, Uint8Array.of(1));
  const backup = await new Backups(left.folder).backUpStore();
  place.store.removeToken(wikibot, 'a');
  place.store.close();
  const told = (await restoreStore(left.config, backup)).join('\n');
  assert.match(
    told,
    /revoked since the backup are VALID AGAIN.*token revoke TOOL ID\n +npx toolforge-push token list wikibot\n/,
  );
  await rm(left.folder, { recursive: true });
});

test('threat 87: a start with an older store reports once which tools have deploy tokens', async () => {
  const left = await Left.make();
  await left.bringOldStore();
  left.change(
    `INSERT INTO deploy_tokens (id, tool, name, scope, "by", hash, created_at, expires_at) VALUES ('a', '${wikibot}', 'ci', 'deploy', 'alice', x'00', 1, 2)`,
  );
  const told = examine(await readDataFacts(left.config)).filter(({ what }) => what.includes('tokens'));
  assert.equal(told.length, 1);
  assert.match(told[0]?.advice ?? '', /token list wikibot/);
  await using _place = await left.start(3);
  const after = examine(await readDataFacts(left.config));
  assert.deepEqual(
    after.filter(({ what }) => what.includes('tokens')),
    [],
  );
});

test('threat 87: a repository that lost its objects is reported once and set aside, without an error for each ref', async () => {
  const left = await Left.make();
  await rm(left.file(`repositories/${wikibot}.git/objects`), { recursive: true });
  const findings = examine(await readDataFacts(left.config));
  assert.deepEqual(
    findings.map(({ kind }) => kind),
    ['act'],
  );
  assert.match(findings[0]?.what ?? '', /has lost objects that every push needs/);
  await using place = new Place(left.folder);
  const errors: string[] = [];
  const log = createLog('error', { write: (line) => errors.push(line) });
  const mended = await mendRepositories({ ...place.context, log }, new SetAside(left.folder));
  assert.deepEqual(
    mended.map(({ tool, file }) => [tool, file]),
    [[wikibot, null]],
  );
  assert.deepEqual(errors, []);
});

test('threat 87: a repository that was replaced by an empty repository is reported in one error', async () => {
  const left = await Left.make();
  await left.loseRepository();
  await startOvers.repositories(left.config, path);
  await using place = new Place(left.folder);
  const errors: string[] = [];
  const log = createLog('error', { write: (line) => errors.push(JSON.parse(line).msg) });
  await reconcile({ ...place.context, log }, new DeploymentLogs(left.file('deployments')));
  assert.deepEqual(errors, [
    'repository lacks the commit that is live: its maintainers have to push their history again',
  ]);
  assert.equal(place.store.tool(wikibot).liveVersion, 3);
});

test('threat 87: `restore store` sets the journal of a killed server aside, so that the journal is not applied to the restored store', async () => {
  const left = await Left.make();
  await writeFile(left.file('store.sqlite-journal'), 'of the store that was here');
  const told = (await restoreStore(left.config, left.backup)).join('\n');
  assert.match(told, /Set aside: set-aside\/\S+\/store\.sqlite-journal/);
  assert.equal(existsSync(left.file('store.sqlite-journal')), false);
  await using _place = await left.start(3);
});

for (const garbage of ['\0'.repeat(60), 'garbage\n', '[core]\n\t= 1\n']) {
  test(`threat 87: if the files config and shallow of a repository begin with ${JSON.stringify(garbage.slice(0, 12))}, the check of the data names both, and the start repairs them`, async () => {
    const left = await Left.make();
    const file = (name: string) => left.file(`repositories/${wikibot}.git/${name}`);
    const config = await readFile(file('config'), 'utf8');
    const findings = async () => {
      const found = examine(await readDataFacts(left.config));
      return found.map(({ kind, what }) => `${kind}: ${what}`);
    };
    assert.deepEqual(await findings(), []);
    await writeFile(file('config'), garbage);
    await writeFile(file('shallow'), garbage);
    assert.deepEqual(await findings(), [
      'act: the file shallow in the repository of wikibot is torn',
      'repaired: the file config in the repository of wikibot is torn',
    ]);
    await using _place = await left.start(3);
    assert.deepEqual(await findings(), []);
    assert.equal(await readFile(file('config'), 'utf8'), config);
    assert.equal(await left.git('rev-list', '--count', 'main'), '3');
  });
}

test('threat 87: if a lost repository was made again without commits, the check of the data reports that the live commit is missing', async () => {
  const left = await Left.make();
  await left.loseRepository();
  // Makes an empty repository, as the next fetch would do.
  await repositoriesOf(left.config, path).ensure(wikibot);
  const findings = examine(await readDataFacts(left.config));
  assert.deepEqual(
    findings.map(({ kind, what }) => `${kind}: ${what}`),
    [
      'act: the tool wikibot is live at v3, but its repository (repositories/wikibot.git) does not have its commit',
    ],
  );
});

test('threat 226: with an older store, each tool gets the number that the copies of its releases have, and no new tool gets a used number', async () => {
  const data = await mkdtemp(join(tmpdir(), 'older-store-'));
  const key = new SecretsKey(Buffer.alloc(32, 1));
  const open = () => new SqliteStore(data, key);
  const numbers = (store: SqliteStore) =>
    Object.fromEntries(store.tools().map(({ name, number }) => [name, number]));
  const makeLive = async (store: SqliteStore, tool: ToolName, preview: ToolName | null = null) => {
    if (preview !== null) store.addPreview(preview, tool, { limits: {}, by: 'alice', at: 1 });
    const name = preview ?? tool;
    const id = `of-${name}`;
    store.addDeployment(deploymentOf(id, { tool: name }));
    store.addBuild(buildOf(id, id, { tool: name }));
    const { version } = store.addRelease(releaseOf(id, { tool: name }));
    await store.copyRelease(name, version, 1);
    store.goLive(name, version, id, 1);
  };
  const end = async (store: SqliteStore, preview: ToolName) => {
    store.markEnding(preview);
    store.removePreview(preview, 1);
    await rm(join(data, 'releases', preview), { recursive: true });
  };
  const [first, other] = [nameOf('one--wikibot'), nameOf('two--wikibot')];
  try {
    const store = open();
    await makeLive(store, wikibot);
    await makeLive(store, wikibot, first);
    await makeLive(store, wikibot, other);
    const backup = new DatabaseSync(join(data, 'store.sqlite'), { readOnly: true });
    backup.prepare('VACUUM INTO ?').run(join(data, 'old.sqlite'));
    backup.close();
    // Since the backup, one preview has ended, one has ended and was made again, and three tools and two previews are new.
    await end(store, first);
    await end(store, other);
    await makeLive(store, wikibot, nameOf('a--wikibot'));
    store.tool(nameOf('never-live'));
    await makeLive(store, nameOf('tool-a'));
    await makeLive(store, nameOf('tool-b'));
    await makeLive(store, wikibot, nameOf('b--wikibot'));
    await makeLive(store, wikibot, other);
    const now = numbers(store);
    store.close();
    for (const end of ['-wal', '-shm']) await rm(join(data, `store.sqlite${end}`), { force: true });
    await copyFile(join(data, 'old.sqlite'), join(data, 'store.sqlite'));
    const older = open();
    const repositories = repositoriesOf(
      { data, keys: data, runtime: 'kubernetes', directory: 'ldap', deploy_branch: 'main' },
      path,
    );
    await readBackReleases({ store: older, repositories, log: createLog('silent') });
    const { [first]: ended = 0, ...others } = numbers(older);
    const { 'never-live': _, ...wanted } = now;
    assert.deepEqual(others, wanted);
    const highest = Math.max(...Object.values(now));
    assert.ok(ended > highest);
    assert.ok(older.tool(nameOf('tool-c')).number > highest);
    older.addPreview(nameOf('c--wikibot'), wikibot, { limits: {}, by: 'alice', at: 1 });
    assert.ok(older.tool(nameOf('c--wikibot')).number > highest);
    const settled = numbers(older);
    await readBackReleases({ store: older, repositories, log: createLog('silent') });
    assert.deepEqual(numbers(older), settled);
    older.close();
  } finally {
    await rm(data, { recursive: true });
  }
});
