import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { execa } from 'execa';
import { DiskRoom } from '../../src/core/disk/disk-space.ts';
import { DeployError } from '../../src/core/errors.ts';
import { createLog } from '../../src/core/log/log.ts';
import type { ToolName } from '../../src/core/names.ts';
import { GitPackServices, type GitPackServicesOptions } from '../../src/git/git-pack-services.ts';
import type { PushSession } from '../../src/git/pack-services.ts';
import { encodeCommandList, zeroId } from '../../src/git/push/command-list.ts';
import { sideBand } from '../../src/git/push/pkt-line.ts';
import { encodeReport } from '../../src/git/push/report-status.ts';
import { parkedRef, type TruthfulPush } from '../../src/git/push/truthful-push.ts';
import { Repositories } from '../../src/git/repositories.ts';
import { alice } from '../support/alice.ts';
import { packOfFolders, packOfNestedFolders } from '../support/delta-packs.ts';
import { until } from '../support/server.ts';
import { nameOf, wikibot } from '../support/store-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'pack-services-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const push = { tool: wikibot, principal: alice, hasAdvertisement: false };

function open(name: string, change: Partial<GitPackServicesOptions> = {}) {
  const path = process.env['PATH'] ?? '';
  const repositories = new Repositories({ folder: join(folder, name), path, deployBranch: 'main' });
  const services = new GitPackServices({
    repositories,
    hooksFolder: folder,
    socketPath: join(folder, 'socket'),
    maxPackBytes: 1024 * 1024,
    maxRefs: 10,
    maxRepositoryBytes: () => 1024 * 1024,
    room: new DiskRoom(folder),
    repair: () => assert.fail('nothing is repaired here'),
    mergePacks: () => assert.fail('no packs are merged here'),
    previewRefusal: () => null,
    endPreview: () => assert.fail('no preview is ended here'),
    submit: () => assert.fail('nothing is submitted here'),
    tryOut: () => assert.fail('nothing is tried here'),
    follow: () => assert.fail('nothing is followed here'),
    whatIsLive: () => 'nothing is live yet',
    watchRight: () => ({ lost: new AbortController().signal, [Symbol.dispose]: () => undefined }),
    assertNamed: () => undefined,
    frozen: () => null,
    hints: () => ({ redeploy: '', follow: () => '' }),
    audit: () => undefined,
    log: createLog('silent'),
    ...change,
  });
  return { repositories, services };
}

/** Returns the answer to a push that ends before git sees its commit. */
async function answerOf(
  session: PushSession,
  ref: string | readonly string[] = 'refs/heads/main',
  shallow: readonly string[] = [],
  more: readonly string[] = [],
): Promise<string> {
  const commands = [ref].flat().map((name) => ({ oldId: zeroId, newId: '1'.repeat(40), ref: name }));
  const capabilities = new Set(['report-status', 'side-band-64k', ...more]);
  session.incoming.resume().end(encodeCommandList({ commands, capabilities, shallow, pushOptions: [] }));
  session.outgoing.end();
  const answer = await text(session.outgoing);
  session.close();
  return answer;
}

test('a push that failed at its start does not hold up work that waits until no push to the tool is running', {
  timeout: 20_000,
}, async () => {
  const { services } = open('broken', { hints: () => assert.fail('the store is locked') });
  await assert.rejects(services.receive(push), /the store is locked/);
  let isDone = false;
  await services.whileIdle(wikibot, async () => {
    isDone = true;
  });
  assert.ok(isDone);
});

test('a push to a full repository waits while the server tidies the repository; the size after the tidying decides whether the push is refused', async () => {
  const { repositories, services } = open('full');
  await repositories.ensure(wikibot);
  const large = randomBytes(2 * 1024 * 1024).toString('latin1');
  await repositories.git(wikibot, ['hash-object', '-w', '--stdin'], { input: large });
  assert.match(await answerOf(await services.receive(push)), /the repository has [23] MiB/);
  const may = Promise.withResolvers<void>();
  const maintained = services.whileIdle(wikibot, async () => {
    await may.promise;
    await repositories.git(wikibot, ['prune', '--expire=now']);
  });
  const waiting = services.receive(push);
  // These five calls take longer than the server needs to measure the repository.
  for (let count = 0; count < 5; count += 1) await repositories.git(wikibot, ['for-each-ref']);
  may.resolve();
  await maintained;
  assert.doesNotMatch(await answerOf(await waiting), /the repository has/);
});

test('threat 37: a push of a tag to a tool that has 10,000 tags, even packed ones, is refused, because reading more tags would block the server', async () => {
  const { repositories, services } = open('tags', { maxRepositoryBytes: () => 1024 ** 3 });
  const packed = join(await repositories.ensure(wikibot), 'packed-refs');
  const lines = Array.from({ length: 10_000 }, (_, index) => `${'1'.repeat(40)} refs/tags/t${index}\n`);
  writeFileSync(packed, lines.slice(1).join(''));
  assert.doesNotMatch(await answerOf(await services.receive(push), 'refs/tags/new'), /a tool can have/);
  writeFileSync(packed, lines.join(''));
  assert.match(
    await answerOf(await services.receive(push), 'refs/tags/new'),
    /ng refs\/tags\/new a tool can have 10000 tags; delete some: git push toolforge --delete TAG/,
  );
  assert.doesNotMatch(await answerOf(await services.receive(push)), /a tool can have/);
});

test('threat 228: at most 2,000 tags of atomic pushes of a tool may wait for deployments, and they count towards the size of the repository', async () => {
  const { repositories, services } = open('parked', { maxRepositoryBytes: () => 1024 ** 3 });
  const packed = join(await repositories.ensure(wikibot), 'packed-refs');
  const lines = Array.from({ length: 2000 }, (_, index) => `${'1'.repeat(40)} refs/parked/p1/${index}\n`);
  const pushed = async () =>
    await answerOf(await services.receive(push), ['refs/heads/main', 'refs/tags/v1'], [], ['atomic']);
  const before = await services.bytesOf(wikibot);
  writeFileSync(packed, lines.slice(1).join(''));
  assert.doesNotMatch(await pushed(), /wait for deployments/);
  writeFileSync(packed, lines.join(''));
  assert.match(await pushed(), /ng refs\/tags\/v1 2000 tags of atomic pushes wait for deployments/);
  assert.ok((await services.bytesOf(wikibot)) >= before + 2000 * 4096);
});

test('threat 46: a push is refused if more than 1000 of its commits lack their parents, or if more than 10,000 commits of the repository would lack them', async () => {
  const { repositories, services } = open('shallow');
  const file = join(await repositories.ensure(wikibot), 'shallow');
  const ends = (count: number) =>
    Array.from({ length: count }, (_, index) => String(index).padStart(40, '1'));
  const refusal =
    /ends at \d+ commits, and a push from it may end at \d+; first fetch .* git fetch --unshallow/;
  const pushFrom = async (shallow: readonly string[]) =>
    answerOf(await services.receive(push), 'refs/tags/v1', shallow);
  assert.doesNotMatch(await pushFrom(ends(1000)), refusal);
  assert.match(await pushFrom(ends(1001)), refusal);
  writeFileSync(file, ends(9999).join('\n').concat('\n'));
  assert.doesNotMatch(await pushFrom(ends(1)), refusal);
  assert.match(await pushFrom(ends(2)), refusal);
  assert.doesNotMatch(await pushFrom([]), refusal);
});

test('threat 186: while two git processes already serve a person, a further one starts with a low priority', async () => {
  const { services } = open('priority');
  const mallory = { ...alice, uid: 'mallory' };
  const isLow = ({ environment }: { readonly environment: Readonly<Record<string, string>> }) =>
    Object.hasOwn(environment, 'TOOLFORGE_PUSH_LOW');
  const pushed = await services.receive({ ...push, principal: mallory });
  const fetched = await services.upload(wikibot, null, mallory);
  const third = await services.upload(wikibot, null, mallory);
  assert.deepEqual([pushed, fetched, third].map(isLow), [false, false, true]);
  assert.equal(isLow(await services.upload(wikibot, null, alice)), false);
  fetched.close();
  assert.equal(isLow(await services.upload(wikibot, null, mallory)), false);
  assert.equal(isLow(await services.receive({ ...push, principal: mallory })), true);
  pushed.close();
  assert.equal(isLow(await services.receive({ ...push, principal: mallory })), false);
});

test('threat 189: 60 pushes to a tool with 10,000 tags share measurements of the repository, and cost less than 0.7 s of processor time', async () => {
  const { repositories, services } = open('measured');
  const folder = await repositories.ensure(wikibot);
  const name = 'x'.repeat(200);
  const lines = Array.from({ length: 10_000 }, (_, index) => `${'1'.repeat(40)} refs/tags/${name}${index}\n`);
  writeFileSync(join(folder, 'packed-refs'), lines.join(''));
  const one = async () => (await services.receive(push)).close();
  await one();
  const before = process.threadCpuUsage();
  for (let round = 0; round < 3; round += 1) await Promise.all(Array.from({ length: 20 }, one));
  const { user, system } = process.threadCpuUsage(before);
  assert.ok(user + system < 700_000, `60 pushes took ${(user + system) / 1000} ms of processor time`);
});

for (const [what, refs, ends, options, refusal] of [
  ['refs', 9000, 0, 0, /this push has more than 2500 refs, and one push may have 500/],
  ['commits where its shallow clone ends', 1, 9000, 0, /this shallow clone ends at more than 2500 commits/],
  ['push options', 1, 0, 9000, /more than 16 push options/],
] as const) {
  test(`threat 185: a push with 9000 ${what} is refused with an error that names the limit, and nothing of the push reaches git`, async () => {
    const { services } = open(`cut-${options}-${ends}`, { maxRefs: 500 });
    const session = await services.receive(push);
    const command = { oldId: zeroId, newId: '1'.repeat(40), ref: 'refs/heads/main' };
    const forGit: Buffer[] = [];
    session.incoming.on('data', (chunk: Buffer) => forGit.push(chunk));
    session.incoming.end(
      encodeCommandList({
        commands: Array.from({ length: refs }, () => command),
        capabilities: new Set(['report-status', 'side-band-64k', 'push-options']),
        shallow: Array.from({ length: ends }, () => '2'.repeat(40)),
        pushOptions: Array.from({ length: options }, () => 'detach'),
      }),
    );
    session.outgoing.end();
    assert.match(`${await text(session.outgoing)}${session.notice()}`, refusal);
    assert.equal(Buffer.concat(forGit).toString(), '0000');
    session.close();
  });
}

/**
 * Makes one pack in the repository of a tool. The returned function copies it once for each number from `from` to `to -
 * 1`.
 */
async function packsIn(
  repositories: Repositories,
  tool: ToolName,
): Promise<(from: number, to: number) => void> {
  const packs = join(await repositories.ensure(tool), 'objects/pack');
  const object = await repositories.git(tool, ['hash-object', '-w', '--stdin'], { input: 'x' });
  const name = await repositories.git(tool, ['pack-objects', '-q', join(packs, 'pack')], {
    input: object,
  });
  return (from, to) => {
    for (let index = from; index < to; index += 1) {
      const copy = String(index).padStart(40, '0');
      for (const end of ['pack', 'idx'])
        copyFileSync(join(packs, `pack-${name}.${end}`), join(packs, `pack-${copy}.${end}`));
    }
  };
}

test('threat 37: 100 packs of a repository are merged when no push is running; at 1000 packs, a push is refused', async () => {
  const merged = Promise.withResolvers<void>();
  let asked = 0;
  const { repositories, services } = open('packs', {
    maxRepositoryBytes: () => 1024 ** 3,
    mergePacks: async () => {
      asked += 1;
      merged.resolve();
    },
  });
  const copies = await packsIn(repositories, wikibot);
  copies(1, 99);
  (await services.receive(push)).close();
  copies(99, 100);
  const sessions = [await services.receive(push), await services.receive(push)];
  assert.equal(asked, 0);
  for (const session of sessions) session.close();
  await merged.promise;
  assert.equal(asked, 1);
  copies(100, 1000);
  await services.whileIdle(wikibot, async () => undefined);
  assert.match(await answerOf(await services.receive(push)), /has 1000 packs, which are merged when/);
});

test('threat 243: the server merges the packs of only one repository at a time; a push to a tool whose merge waits for its turn does not wait', async () => {
  const merging: string[] = [];
  const ends = new Map<string, () => void>();
  const { repositories, services } = open('merges', {
    maxRepositoryBytes: () => 1024 ** 3,
    mergePacks: (tool) =>
      repositories.turns.mergeAlone(() => {
        merging.push(tool);
        return new Promise((resolve) => ends.set(tool, resolve));
      }),
  });
  const tools = ['evil', 'bad', 'shop'].map(nameOf);
  for (const tool of tools) {
    (await packsIn(repositories, tool))(1, 100);
    (await services.receive({ ...push, tool })).close();
  }
  await until(async () => merging.length > 0, 'a merge begins');
  for (const next of ['bad', 'shop']) {
    // This push would wait if the merge of its tool held the repository while the merge waits for its turn.
    (await services.receive({ ...push, tool: nameOf('shop') })).close();
    await wait(50);
    assert.equal(merging.length, next === 'bad' ? 1 : 2);
    ends.get(merging.at(-1) ?? '')?.();
    await until(async () => merging.at(-1) === next, `the merge of ${next} begins`);
  }
  for (const end of ends.values()) end();
});

test('threat 83: the audit log lists at most 20 refused refs of a push, because refusals cost the client nothing', async () => {
  const noted: unknown[] = [];
  const { services } = open('refusals', { maxRefs: 100, audit: ({ facts }) => noted.push(facts) });
  await answerOf(
    await services.receive(push),
    Array.from({ length: 50 }, (_, index) => `refs/notes/${index}`),
  );
  const [{ updates, more }] = noted as [{ updates: unknown[]; more: number }];
  assert.deepEqual([updates.length, more], [20, 30]);
});

test('threat 21: one person may have 40 simultaneous pushes, and one tool 30; a further push is refused with the reason', async () => {
  const { services } = open('many');
  const openOne = (tool: string, uid: string) =>
    services.receive({ ...push, tool: nameOf(tool), principal: { ...alice, uid } });
  const held = [];
  for (let count = 0; count < 40; count += 1) held.push(await openOne(`tool-${count % 4}`, 'alice'));
  await assert.rejects(openOne('tool-9', 'alice'), /alice has 40 pushes under way already/);
  for (let count = 0; count < 20; count += 1) held.push(await openOne('tool-0', 'bob'));
  await assert.rejects(openOne('tool-0', 'carol'), /30 pushes to tool-0 are under way already/);
  held.push(await openOne('tool-9', 'carol'));
  held.shift()?.close();
  held.push(await openOne('tool-9', 'alice'));
  for (const session of held) session.close();
});

for (const state of ['its list of refs', 'its pack']) {
  test(`threat 8: if somebody loses the right to push before ${state} has arrived, git gets no more of the push, and the client gets the reason`, async () => {
    const right = new AbortController();
    const { services } = open('right-lost', {
      watchRight: () => ({ lost: right.signal, [Symbol.dispose]: () => undefined }),
    });
    const session = await services.receive(push);
    const commands = [{ oldId: '1'.repeat(40), newId: '2'.repeat(40), ref: 'refs/tags/v1' }];
    const list = encodeCommandList({
      ...{ commands, shallow: [], pushOptions: [] },
      capabilities: new Set(['report-status', 'side-band-64k']),
    });
    const forGit: Buffer[] = [];
    session.incoming.on('data', (chunk: Buffer) => forGit.push(chunk));
    if (state === 'its pack') session.incoming.write(list);
    await setImmediate();
    right.abort(new DeployError('NO_ACCESS', 'alice does not maintain wikibot', ''));
    session.incoming.end(state === 'its pack' ? 'the end of the pack' : list);
    session.outgoing.end();
    assert.match(await text(session.outgoing), /alice does not maintain wikibot/);
    assert.doesNotMatch(Buffer.concat(forGit).toString(), /the end of the pack/);
    assert.equal(Buffer.concat(forGit).includes('refs/tags/v1'), state === 'its pack');
    session.close();
  });
}

test('promise 6: if the post-receive hook of a push connects after the push was answered, nothing is deployed', async () => {
  let submitted = 0;
  const { services } = open('late-hook', {
    submit: () => {
      submitted += 1;
      return new Promise(() => undefined);
    },
  });
  const session = await services.receive(push);
  const commands = [{ oldId: zeroId, newId: '1'.repeat(40), ref: 'refs/heads/main' }];
  const capabilities = new Set(['report-status', 'side-band-64k']);
  session.incoming.resume().end(encodeCommandList({ commands, capabilities, shallow: [], pushOptions: [] }));
  // In this test, git is killed after it has stored the commit and started its hook.
  const refs = [{ ref: parkedRef(session.id), reason: null, options: [] }];
  session.outgoing.end(sideBand(1, encodeReport({ unpack: 'ok', refs })));
  assert.match(await text(session.outgoing), /ng refs\/heads\/main the deployment did not start/);
  const updated = new Set([parkedRef(session.id)]);
  await services.push(session.id)?.received(updated, async () => undefined, new AbortController().signal);
  assert.equal(submitted, 0);
  session.close();
});

test('threat 82: the lock files that a killed push left are removed, so that git does not refuse later pushes', async () => {
  const { repositories, services } = open('killed');
  const repository = await repositories.ensure(wikibot);
  const session = await services.receive(push);
  const other = await services.receive(push);
  const left = ['shallow.lock', 'packed-refs.lock', 'refs/tags/v1.lock', 'objects/tmp_objdir-incoming-abc'];
  mkdirSync(join(repository, 'refs/tags'), { recursive: true });
  for (const name of left) writeFileSync(join(repository, name), '');
  session.close(true);
  // While another push is running, the server removes no locks, because they may be locks of that push.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(left.every((name) => existsSync(join(repository, name))));
  other.close();
  await until(async () => !left.some((name) => existsSync(join(repository, name))), 'they are gone');
});

test('if the server’s git fails before it answers, no message says that the client disconnected', async () => {
  const { services } = open('mute');
  const failed = await services.receive({ ...push, hasAdvertisement: true });
  failed.incoming.end();
  failed.outgoing.end();
  assert.equal(await text(failed.outgoing), '');
  assert.equal(failed.notice(), null);
  failed.close();
  const left = await services.receive({ ...push, hasAdvertisement: true });
  left.incoming.end();
  left.outgoing.end('0000');
  assert.equal(await text(left.outgoing), '0000');
  assert.match(left.notice() ?? '', /Your git disconnected before it named a ref/);
  left.close();
});

/** Runs git with at most `mebibytes` of memory for its data, as `prlimit --data` does. */
async function gitWithin(
  mebibytes: number,
  args: readonly string[],
  { environment, input }: { readonly environment: Readonly<Record<string, string>>; readonly input: Buffer },
) {
  const limited = ['-c', `ulimit -d ${mebibytes * 1024}; exec git "$@"`, 'sh', ...args];
  return await execa('sh', limited, { env: environment, extendEnv: false, input, reject: false });
}

test('threat 35: git needs less than 192 MiB of memory for a small pack of folders that are deltas of a large folder', async () => {
  const { services } = open('folders', { maxPackBytes: 8 * 1024 ** 2 });
  const { folder: repository, environment } = await services.receive(push);
  const { pack, tree } = packOfFolders(20);
  assert.ok(pack.length < 8 * 1024 ** 2);
  const commands = [{ oldId: zeroId, newId: tree, ref: 'refs/tags/folders' }];
  const list = { commands, capabilities: new Set(['report-status']), shallow: [], pushOptions: [] };
  const input = Buffer.concat([encodeCommandList(list), pack]);
  const args = ['receive-pack', '--stateless-rpc', repository];
  const { stdout, stderr } = await gitWithin(192, args, { environment, input });
  assert.match(stdout, /unpack ok\n[0-9a-f]{4}ok refs\/tags\/folders/, stderr);
});

test('threat 35: a small pack of large nested folders, for which git would need 400 MiB of memory, is refused', async () => {
  const { services } = open('nested', { maxPackBytes: 8 * 1024 ** 2 });
  const { folder: repository, environment } = await services.receive(push);
  const { pack, tree } = packOfNestedFolders(100);
  assert.ok(pack.length < 1024 ** 2);
  const commands = [{ oldId: zeroId, newId: tree, ref: 'refs/tags/nested' }];
  const list = { commands, capabilities: new Set(['report-status']), shallow: [], pushOptions: [] };
  const input = Buffer.concat([encodeCommandList(list), pack]);
  const options = { env: environment, extendEnv: false, input, reject: false } as const;
  const { stdout } = await execa('git', ['receive-pack', '--stateless-rpc', repository], options);
  assert.match(stdout, /ng refs\/tags\/nested missing necessary objects/);
});

const together = /pushes to wikibot that are under way together exceed the limit of the repository/;

/** Returns the answer to a push with a pack of 150,000 bytes. */
async function answerToPack(session: PushSession): Promise<string> {
  const commands = [{ oldId: zeroId, newId: '1'.repeat(40), ref: 'refs/heads/main' }];
  const capabilities = new Set(['report-status', 'side-band-64k']);
  session.incoming
    .resume()
    .write(encodeCommandList({ commands, capabilities, shallow: [], pushOptions: [] }));
  session.incoming.end(randomBytes(150_000));
  await once(session.incoming, 'end');
  session.outgoing.end();
  return `${await text(session.outgoing)}${session.notice() ?? ''}`;
}

test('threat 37: if simultaneous pushes together exceed the size limit of a repository by more than the size limit of one pack, the last push is refused', async () => {
  const { services } = open('together', { maxPackBytes: 300_000, maxRepositoryBytes: () => 100_000 });
  const sessions = await Promise.all([1, 2, 3].map(() => services.receive(push)));
  const answers: string[] = [];
  for (const session of sessions) answers.push(await answerToPack(session));
  assert.deepEqual(
    answers.map((answer) => together.test(answer)),
    [false, false, true],
  );
  for (const session of sessions) session.close();
});

test('the bytes of an ended push do not count towards the limit for simultaneous pushes, even while commits are copied into the repository', async () => {
  const { repositories, services } = open('copied', {
    maxPackBytes: 300_000,
    maxRepositoryBytes: () => 100_000,
  });
  const copied = Promise.withResolvers<void>();
  const { signal } = new AbortController();
  const copying = repositories.turns.whileCopying(wikibot, () => copied.promise, signal);
  for (let count = 0; count < 3; count += 1) {
    const session = await services.receive(push);
    assert.doesNotMatch(await answerToPack(session), together);
    session.close();
  }
  copied.resolve();
  await copying;
});

test('threat 35: git needs less than 96 MiB of memory to pack large files for a clone', async () => {
  const { repositories, services } = open('files');
  const { folder: repository, environment } = await services.upload(wikibot, null, alice);
  const ids = [];
  for (let count = 0; count < 8; count += 1) {
    const input = randomBytes(6 * 1024 ** 2).toString('latin1');
    ids.push(await repositories.git(wikibot, ['hash-object', '-w', '--stdin'], { input }));
  }
  const input = Buffer.from(ids.map((id) => `${id}\n`).join(''));
  const args = [
    `--git-dir=${repository}`,
    'pack-objects',
    '--all-progress-implied',
    '-q',
    join(folder, 'clone'),
  ];
  const { exitCode, stderr } = await gitWithin(96, args, { environment, input });
  assert.equal(exitCode, 0, stderr);
});

test('threat 21: git unpacks four packs of one person at the same time; the next waits, and the packs of others do not', async () => {
  const { services } = open('unpacking');
  const commands = [{ oldId: zeroId, newId: '1'.repeat(40), ref: 'refs/heads/main' }];
  const list = { commands, capabilities: new Set(['report-status']), shallow: [], pushOptions: [] };
  const begin = async (uid: string) => {
    const session = await services.receive({ ...push, principal: { ...alice, uid } });
    let bytes = 0;
    session.incoming.on('data', (chunk: Buffer) => (bytes += chunk.length)).on('error', () => {});
    session.incoming.write(encodeCommandList(list));
    return { session, isUnpacked: () => bytes > 0 };
  };
  const ofAlice: Awaited<ReturnType<typeof begin>>[] = [];
  for (let count = 0; count < 7; count += 1) ofAlice.push(await begin('alice'));
  const ofBob = await begin('bob');
  await until(async () => ofBob.isUnpacked(), 'the pack of bob');
  const unpacked = () => ofAlice.map(({ isUnpacked }) => (isUnpacked() ? 'x' : '.')).join('');
  assert.equal(unpacked(), 'xxxx...');
  // A waiting push and then an unpacking push are closed, so the sixth push unpacks. When git has stored the pack of the
  // second push, the seventh unpacks.
  ofAlice[4]?.session.close();
  ofAlice[0]?.session.close();
  await until(async () => unpacked() === 'xxxx.x.', 'a place that was given back');
  const second = ofAlice[1]?.session as TruthfulPush;
  await second.received(new Set(), () => Promise.resolve(), new AbortController().signal);
  await until(async () => unpacked() === 'xxxx.xx', 'the place of a stored pack');
  for (const { session } of [...ofAlice, ofBob]) session.close();
});

test('threat 165: of the four packs of a person that git unpacks at once, two at most came with one deploy token', async () => {
  const { services } = open('unpacking-of-a-token');
  const commands = [{ oldId: zeroId, newId: '1'.repeat(40), ref: 'refs/heads/main' }];
  const list = { commands, capabilities: new Set(['report-status']), shallow: [], pushOptions: [] };
  const token = { ...alice, credential: 'token ci (abcdefghij)', onlyTool: push.tool };
  const sessions: PushSession[] = [];
  const isUnpacked: boolean[] = [];
  for (const [index, principal] of [token, token, token, token, alice].entries()) {
    const session = await services.receive({ ...push, principal });
    sessions.push(session);
    isUnpacked[index] = false;
    session.incoming.on('data', () => (isUnpacked[index] = true)).on('error', () => {});
    session.incoming.write(encodeCommandList(list));
  }
  await until(async () => isUnpacked[4] === true, 'the pack that alice pushes with her key');
  assert.deepEqual(isUnpacked, [true, true, false, false, true]);
  for (const session of sessions) session.close();
});

test('threat 21: a token, a person and a tool each have a limit of simultaneous clones; a further clone is refused with the reason', async () => {
  const { services } = open('clones');
  const fetchAs = async (uid: string, credential: string, tool: string) =>
    await services.upload(nameOf(tool), null, { ...alice, uid, credential });
  const held: { close(): void }[] = [];
  const fill = async (uid: string, credential: string, tool: string, refusal: RegExp) => {
    for (let count = 0; count < 60; count += 1) {
      try {
        held.push(await fetchAs(uid, credential, tool));
      } catch (error) {
        assert.ok(error instanceof DeployError && error.code === 'TOO_MANY_FETCHES');
        assert.match(error.message, refusal);
        return count;
      }
    }
    throw new Error('no limit');
  };
  const token = await fill(
    'alice',
    'token ci',
    'tool-0',
    /^the token ci has too many clones and fetches under way/,
  );
  assert.equal(token, 19);
  assert.ok((await fill('alice', 'password', 'tool-1', /^the password has too many/)) > 10);
  await fill('alice', 'ssh key', 'tool-2', /^the user alice has too many/);
  await fill('bob', 'password', 'tool-0', /^the (password|tool tool-0) has too many/);
  await fill('carol', 'password', 'tool-0', /^the tool tool-0 has too many/);
  held.push(await fetchAs('dora', 'password', 'tool-9'));
  for (const session of held.splice(0)) session.close();
  held.push(await fetchAs('alice', 'token ci', 'tool-0'));
  for (const session of held) session.close();
});
