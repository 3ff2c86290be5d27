import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { DeploymentLogs } from '../../src/deploy/deployment-log.ts';
import { Entry } from '../../src/deploy/entry.ts';
import { Turns } from '../../src/deploy/turns.ts';
import { alice } from '../support/alice.ts';
import { deploymentOf, nameOf } from '../support/store-records.ts';

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'turns-'));
});
after(async () => rm(folder, { recursive: true }));

/** A line in which a deployment runs until it is told to end. */
class Line {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, () => void>();
  readonly #logs = new DeploymentLogs(folder);
  readonly #turns: Turns;

  constructor(limit: number) {
    this.#turns = new Turns({ limit, run: (entry) => this.#run(entry) });
  }

  /** `a2` is the second deployment of the tool `tool-a`. */
  enter(...ids: readonly string[]): void {
    for (const id of ids) this.#turns.enter(this.#entryOf(id, false));
  }

  takeUp(id: string): void {
    this.#turns.enter(this.#entryOf(id, true));
  }

  async end(id: string): Promise<void> {
    this.#ends.get(id)?.();
    await setImmediate();
  }

  /** Ends what runs, the first that began first, until nothing is left. @returns all in the order of their turns. */
  async order(): Promise<string> {
    for (let next = 0; next < this.begun.length; next += 1) await this.end(this.begun[next] ?? '');
    return this.begun.join(' ');
  }

  #entryOf(id: string, isTakenUp: boolean): Entry {
    const tool = nameOf(`tool-${id[0]}`);
    const log = this.#logs.open(tool, id);
    return new Entry({
      deployment: deploymentOf(id, { tool }),
      request: { kind: 'redeploy', useCache: true },
      principal: alice,
      log,
      ...(isTakenUp ? { again: { progress: log.progress, goesOn: Promise.resolve() } } : {}),
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

test('fairness: two tools with many waiting deployments do not hold up all others', async () => {
  const line = new Line(2);
  line.enter('a1', 'b1', 'a2', 'b2', 'a3', 'b3', 'c1', 'd1');
  assert.equal(await line.order(), 'a1 b1 c1 d1 a2 b2 a3 b3');
});

test('fairness: whose last deployment ended longest ago goes first', async () => {
  const line = new Line(1);
  line.enter('a1', 'b1', 'c1', 'c2', 'b2', 'a2', 'd1');
  assert.equal(await line.order(), 'a1 b1 c1 d1 a2 b2 c2');
});

test('fairness: small deployments one after the other keep nobody waiting for ever', async () => {
  const line = new Line(1);
  line.enter('a1', 'b1', 'c1', 'a2');
  await line.end('a1');
  line.enter('c2');
  await line.end('b1');
  line.enter('b2');
  await line.end('c1');
  assert.deepEqual(line.begun, ['a1', 'b1', 'c1', 'a2']);
});

test('the deployments of one tool go in the order in which they came, one at a time', async () => {
  const line = new Line(2);
  line.enter('a1', 'a2', 'a3', 'b1');
  assert.deepEqual(line.begun, ['a1', 'b1']);
  assert.equal(await line.order(), 'a1 b1 a2 a3');
});

test('what was under way before a restart goes at once, whatever the limit is', () => {
  const line = new Line(1);
  line.takeUp('a1');
  line.takeUp('b1');
  line.enter('c1');
  assert.deepEqual(line.begun, ['a1', 'b1']);
});
