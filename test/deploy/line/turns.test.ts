import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { DeploymentLogs } from '../../../src/deploy/deployment-log.ts';
import { Entry } from '../../../src/deploy/line/line-entry.ts';
import { Turns } from '../../../src/deploy/line/turns.ts';
import { alice } from '../../support/alice.ts';
import { deploymentOf, nameOf } from '../../support/store-records.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'turns-'));
});
after(async () => rm(folder, { recursive: true }));

/** A queue in which each deployment runs until the test ends it. */
class Line {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, () => void>();
  readonly #logs = new DeploymentLogs(join(folder, randomUUID()));
  readonly #turns: Turns;

  constructor(limit: number, tellEveryMs = 0) {
    this.#turns = new Turns({ limit, run: (entry) => this.#run(entry), tellEveryMs });
  }

  /** Returns what the log of a deployment says about its place in the queue, with `N s` in place of the seconds. */
  async told(id: string): Promise<string[]> {
    await setImmediate();
    const text = await readFile(this.#logs.path(nameOf(`tool-${id[0]}`), id), 'utf8');
    return [...stripVTControlCharacters(text).matchAll(/Waiting, (.*)/g)].map(([, told = '']) =>
      told.replace(/\d+ s/, 'N s'),
    );
  }

  /** @param credential - The deploy token of a login. By default, the login is by a key. */
  assertRoom(tool: string, uid: string, credential: string | null = null): void {
    const token = credential === null ? {} : { credential, onlyTool: nameOf(tool) };
    this.#turns.assertRoom(nameOf(tool), { ...alice, uid, ...token });
  }

  cancel(id: string): void {
    const entry = this.#turns.all().find((one) => one.id === id) ?? assert.fail();
    this.#turns.leave(entry);
  }

  /**
   * Adds deployments to the queue. `a2` is the second deployment of the tool `tool-a`, by alice. `bob:a2` is by bob, and
   * `token:a2` by a deploy token of alice.
   */
  enter(...ids: readonly string[]): void {
    for (const id of ids) this.#turns.enter(this.#entryOf(id, false));
  }

  resume(id: string): void {
    this.#turns.enter(this.#entryOf(id, true));
  }

  async end(id: string): Promise<void> {
    this.#ends.get(id)?.();
    await setImmediate();
  }

  /** Ends the running deployments in the order of their starts until none is left. @returns all ids in this order. */
  async order(): Promise<string> {
    for (let next = 0; next < this.begun.length; next += 1) await this.end(this.begun[next] ?? '');
    return this.begun.join(' ');
  }

  #entryOf(words: string, isResumed: boolean): Entry {
    const [id = '', uid = 'alice'] = words.split(':').reverse();
    const tool = nameOf(`tool-${id[0]}`);
    const log = this.#logs.open(tool, id);
    return new Entry({
      deployment: deploymentOf(id, { tool }),
      request: { kind: 'redeploy', useCache: true },
      principal:
        uid === 'token'
          ? { ...alice, credential: 'token ci (abcdefghij)', onlyTool: tool }
          : { ...alice, uid },
      log,
      ...(isResumed ? { resumed: { progress: log.progress, resumption: Promise.resolve() } } : {}),
    });
  }

  async #run(entry: Entry): Promise<void> {
    this.begun.push(entry.id);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ends.set(entry.id, resolve);
    await promise;
    this.#logs.end(entry.id);
  }
}

test('fairness: two tools with many waiting deployments do not hold up all other tools', async () => {
  const line = new Line(3);
  line.enter('a1', 'b1', 'a2', 'b2', 'a3', 'b3', 'c1', 'd1');
  assert.equal(await line.order(), 'a1 b1 c1 d1 a2 b2 a3 b3');
});

test('fairness: the tool whose last deployment ended longest ago goes first', async () => {
  const line = new Line(1);
  line.enter('a1', 'b1', 'c1', 'c2', 'b2', 'a2', 'd1');
  assert.equal(await line.order(), 'a1 b1 c1 d1 a2 b2 c2');
});

test('fairness: a waiting deployment is not overtaken by newer deployments of other tools', async () => {
  const line = new Line(1);
  line.enter('a1', 'b1', 'c1', 'a2');
  await line.end('a1');
  line.enter('c2');
  await line.end('b1');
  line.enter('b2');
  await line.end('c1');
  assert.deepEqual(line.begun, ['a1', 'b1', 'c1', 'a2']);
});

test('fairness: one person’s builds of many tools leave a turn for other people', async () => {
  const line = new Line(2);
  line.enter('mallory:a1', 'mallory:b1', 'mallory:c1', 'bob:d1');
  assert.deepEqual(line.begun, ['a1', 'd1']);
  await line.end('d1');
  assert.deepEqual(line.begun, ['a1', 'd1'], 'the last free turn is kept for others');
  line.enter('carol:e1');
  assert.deepEqual(line.begun, ['a1', 'd1', 'e1']);
  await line.end('a1');
  assert.deepEqual(line.begun, ['a1', 'd1', 'e1', 'b1']);
});

test('fairness: turns rotate over people, however many tools a person has', async () => {
  const line = new Line(1);
  line.enter('alice:a1', 'alice:b1', 'alice:c1', 'alice:d1', 'bob:e1', 'bob:f1', 'carol:g1');
  assert.equal(await line.order(), 'a1 e1 g1 b1 f1 c1 d1');
});

test('fairness: all tool accounts together count as one person', () => {
  const line = new Line(3);
  line.enter('tools.a:a1', 'tools.b:b1', 'tools.c:c1', 'alice:d1');
  assert.deepEqual(line.begun, ['a1', 'b1', 'd1']);
});

test('the deployments of one tool run in the order of arrival, even if several people asked for them', async () => {
  const line = new Line(2);
  line.enter('alice:a1', 'alice:b1', 'bob:b2', 'carol:c1');
  assert.deepEqual(line.begun, ['a1', 'c1']);
  assert.equal(await line.order(), 'a1 c1 b1 b2');
});

test('the deployments of one tool run in the order of arrival, one at a time', async () => {
  const line = new Line(3);
  line.enter('a1', 'a2', 'a3', 'b1');
  assert.deepEqual(line.begun, ['a1', 'b1']);
  assert.equal(await line.order(), 'a1 b1 a2 a3');
});

test('all resumed deployments begin immediately, even if they are more than may run at the same time', () => {
  const line = new Line(1);
  line.resume('a1');
  line.resume('b1');
  line.enter('c1');
  assert.deepEqual(line.begun, ['a1', 'b1']);
});

test('a waiting deployment prints its place in the queue and the reason, and prints both again after a change', async () => {
  const line = new Line(2);
  line.enter('alice:a1', 'bob:b1', 'alice:b2', 'carol:c1', 'dave:d1');
  const behind = 'the push b1 of tool-b, which began N s ago, comes first';
  const taken = 'all 2 turns are taken, the longest by another tool, for N s';
  assert.deepEqual(await line.told('a1'), []);
  // First carol and then dave go before alice, because alice has a running deployment.
  const places = ['1st', '2nd', '3rd'];
  assert.deepEqual(
    await line.told('b2'),
    places.map((place) => `${place} in line: ${behind}`),
  );
  assert.deepEqual(await line.told('d1'), [`2nd in line: ${taken}`]);
  await line.end('a1');
  assert.deepEqual((await line.told('d1')).slice(1), [`1st in line: ${taken}`]);
  line.cancel('d1');
  assert.equal((await line.told('b2')).at(-1), `1st in line: ${behind}`);
});

test('the line about a deployment’s place in the queue never names another person’s tool', async () => {
  const line = new Line(2);
  line.enter('mallory:a1', 'mallory:b1');
  assert.deepEqual(await line.told('b1'), [
    '1st in line: the last free turn is kept for people who have no deployment running; you have the push a1 of tool-a, which began N s ago',
  ]);
  line.enter('bob:c1', 'carol:d1');
  const told = [...(await line.told('d1')), ...(await line.told('b1')).slice(1)].join();
  assert.match(told, /another tool|the push a1 of tool-a/);
  assert.doesNotMatch(await line.told('d1').then((lines) => lines.join()), /tool-/);
  assert.doesNotMatch(told, /tool-[cd]/);
});

test('if a deployment of a tool account waits, the line about its place in the queue names no other tool, although all tool accounts count as one person', async () => {
  const line = new Line(2);
  line.enter('tools.x:a1', 'tools.y:b1', 'bob:c1', 'tools.z:d1');
  const told = [...(await line.told('b1')), ...(await line.told('d1'))].join();
  assert.match(
    told,
    /; all tools that push by themselves count as one person, and one of them has had a deployment running for N s/,
  );
  assert.doesNotMatch(told, /tool-/);
});

test('if a deployment’s place in the queue changes often, the newest place is printed at intervals', async () => {
  const line = new Line(1, 300);
  line.enter('alice:a1', 'bob:b1', 'carol:c1');
  for (let round = 0; round < 20; round += 1) {
    line.enter(`p${round}:d${round}`);
    line.cancel(`d${round}`);
  }
  line.cancel('b1');
  assert.equal((await line.told('c1')).length, 1);
  const limit = AbortSignal.timeout(10_000);
  while ((await line.told('c1')).length < 2) {
    assert.ok(!limit.aborted, 'the change was not told');
    await delay(20);
  }
  assert.match((await line.told('c1')).at(-1) ?? '', /^1st in line/);
});

test('20 deployments of a tool may wait, and 40 of a person; one more deployment is refused with the reason', () => {
  const line = new Line(1);
  line.enter('bob:z0', ...Array.from({ length: 20 }, (_, index) => `carol:a${index}`));
  assert.throws(() => line.assertRoom('tool-a', 'bob'), /20 deployments of tool-a are waiting already/);
  line.enter(...Array.from({ length: 40 }, (_, index) => `alice:${'bcdefghi'[index % 8]}${index}`));
  assert.throws(() => line.assertRoom('tool-j', 'alice'), /40 deployments of alice are waiting already/);
  line.assertRoom('tool-j', 'bob');
});

test('threat 165: of the 40 deployments of a person that may wait, 20 at most came with one deploy token', () => {
  const line = new Line(1);
  line.enter('bob:z0', ...Array.from({ length: 10 }, (_, index) => `token:a${index}`));
  line.assertRoom('tool-a', 'alice', 'token ci (abcdefghij)');
  line.enter(...Array.from({ length: 10 }, (_, index) => `token:b${index}`));
  assert.throws(
    () => line.assertRoom('tool-a', 'alice', 'token ci (abcdefghij)'),
    /20 deployments of the token ci \(abcdefghij\) are waiting already/,
  );
  line.assertRoom('tool-c', 'alice');
});
