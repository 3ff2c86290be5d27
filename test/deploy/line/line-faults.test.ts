import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { mock, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { NullRuntime } from '../../../bench/null-back-ends.ts';
import { stepFailed } from '../../../src/builder/build-failures.ts';
import { registryUnavailable } from '../../../src/builder/registry/registry-requests.ts';
import { DeployError } from '../../../src/core/errors.ts';
import { createLog } from '../../../src/core/log/log.ts';
import type { ToolName } from '../../../src/core/names.ts';
import type { Principal } from '../../../src/core/types.ts';
import { alice } from '../../support/alice.ts';
import { until } from '../../support/server.ts';
import { wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

const bob: Principal = { ...alice, uid: 'bob' };
const hello = 'hello' as ToolName;

/** Opens a queue in which the first push of a tool is building. */
async function building() {
  const place = await Place.make();
  place.buildsADay = 9;
  const { line } = await place.start();
  const one = await place.park('p1');
  const running = await line.submit(one);
  await place.builder.told.promise;
  return { place, line, one, running };
}

test('if a push cannot be stored, the pushes that wait keep their places', async () => {
  const { place, line, one } = await building();
  await using _place = place;
  const two = await place.park('p2', { oldCommit: one.commit });
  const waiting = await line.submit(two);
  const other = new DatabaseSync(join(place.folder, 'store.sqlite'));
  other.exec(`CREATE TRIGGER full BEFORE INSERT ON deployments BEGIN SELECT RAISE(ABORT, 'none'); END`);
  await assert.rejects(
    line.submit(await place.park('p3', { oldCommit: two.commit, principal: bob })),
    /none/,
  );
  other.exec('DROP TRIGGER full');
  other.close();
  place.builder.may.resolve();
  assert.deepEqual(await waiting.verdict, { isLive: true, version: 2 });
  assert.equal(await place.ref('refs/heads/main'), two.commit);
});

test('a push may supersede a waiting push even if the queue is full', async () => {
  const { place, line, one } = await building();
  await using _place = place;
  const two = await place.park('p2', { oldCommit: one.commit });
  const waiting = await line.submit(two);
  for (let count = 1; count < 20; count += 1) line.configure(wikibot, { A: String(count) }, alice);
  await line.submit(await place.park('p3', { oldCommit: two.commit, principal: bob }));
  const reason = /^superseded by .{7}, a newer push of bob; nothing is live yet$/;
  const verdict = await waiting.verdict;
  assert.match(verdict.isLive ? '' : verdict.reason, reason);
  const four = await place.park('p4', { oldCommit: one.commit });
  await assert.rejects(line.submit(four), /20 deployments of wikibot are waiting already/);
});

test('config vars can be set while the first push of a tool waits for its turn', async () => {
  const { place, line, one } = await building();
  await using _place = place;
  await cp(place.repositories.folder(wikibot), place.repositories.folder(hello), { recursive: true });
  const first = await line.submit({ ...one, id: 'h1', tool: hello });
  const ticket = line.configure(hello, { A: '1' }, alice);
  place.builder.may.resolve();
  assert.deepEqual(await first.verdict, { isLive: true, version: 1 });
  assert.deepEqual(await ticket?.verdict, { isLive: true, version: 2 });
  assert.deepEqual(place.store.configVars(hello), { A: '1' });
});

test('if the store cannot be read, the deployment ends with the reason, and the next deployment runs', async () => {
  const { place, line, one, running } = await building();
  await using _place = place;
  const next = await line.submit(await place.park('p2', { oldCommit: one.commit }));
  const { tool } = place.store;
  place.store.tool = () => {
    throw new DeployError('STORE_FULL', 'the disk fails', 'Tell an operator.');
  };
  place.builder.may.resolve();
  const verdict = await running.verdict;
  place.store.tool = tool;
  assert.deepEqual(verdict, { isLive: false, reason: 'the disk fails; what was live is still live' });
  assert.deepEqual(await next.verdict, { isLive: true, version: 2 });
});

test('builds that started while the server’s clock was a year ahead do not count against the daily limit', async () => {
  await using place = await Place.make();
  place.builder.may.resolve();
  const yearAhead = Date.now() + 365 * 24 * 3600_000;
  mock.timers.enable({ apis: ['Date'], now: yearAhead });
  const { line } = await place.start();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  assert.deepEqual(await line.redeploy(wikibot, { useCache: true }, alice).verdict, {
    isLive: true,
    version: 2,
  });
  assert.equal((await line.redeploy(wikibot, { useCache: true }, alice).verdict).isLive, false);
  mock.timers.reset();
  assert.deepEqual(await line.redeploy(wikibot, { useCache: true }, alice).verdict, {
    isLive: true,
    version: 3,
  });
});

for (const [what, trigger, left] of [
  ['the state of a release', 'BEFORE UPDATE OF state ON releases', 1],
  ['the version of the deployment of a release', 'BEFORE UPDATE OF version ON deployments', null],
] as const) {
  test(`threat 83: if the store cannot record ${what}, the release counts as failed once the store works again`, async () => {
    const { place, running } = await building();
    await using _place = place;
    const other = new DatabaseSync(join(place.folder, 'store.sqlite'));
    other.exec(`CREATE TRIGGER full ${trigger} BEGIN SELECT RAISE(ABORT, 'none'); END`);
    place.builder.may.resolve();
    assert.equal((await running.verdict).isLive, false);
    assert.equal(place.store.deployment('p1')?.version, left);
    const state = () => place.store.release(wikibot, 1)?.state;
    if (left !== null) assert.equal(state(), 'created');
    other.exec('DROP TRIGGER full');
    await until(async () => state() === 'failed', 'the release has failed');
    // An older version of this server could leave a release in this state. The next start must record it as failed.
    other.exec(`UPDATE releases SET state = 'created'`);
    other.close();
    await place.start();
    assert.equal(state(), 'failed');
  });
}

test('a cancel without an id ends only the deployment that the person saw running, not the next deployment', async () => {
  const { place, line, one, running } = await building();
  await using _place = place;
  const tagged = Promise.withResolvers<void>();
  const mayEnd = Promise.withResolvers<void>();
  place.builder.tag = async () => {
    tagged.resolve();
    await mayEnd.promise;
  };
  const next = await line.submit(await place.park('p2', { oldCommit: one.commit, principal: bob }));
  const { may } = place.builder;
  place.builder.hold();
  may.resolve();
  await tagged.promise;
  const late = { code: 'NO_DEPLOYMENT', hint: 'To cancel the next deployment: `cancel wikibot p2`' };
  assert.throws(() => line.cancel(wikibot, null, alice), late);
  mayEnd.resolve();
  assert.deepEqual(await running.verdict, { isLive: true, version: 1 });
  await place.builder.told.promise;
  assert.throws(() => line.cancel(wikibot, null, alice), late);
  assert.equal(line.cancel(wikibot, 'p2', bob).id, 'p2');
  const verdict = await next.verdict;
  assert.deepEqual(verdict, { isLive: false, reason: 'cancelled by bob; v1 is still live' });
});

test('the server’s log has one error for a repeated failure that an operator must fix, and no error for a failed build of a tool', async () => {
  await using place = await Place.make();
  place.buildsADay = 9;
  const told: string[] = [];
  const write = (line: string) => {
    const { level, msg } = JSON.parse(line);
    if (level === 'error' || msg === 'trouble is over') told.push(msg);
  };
  place.serverLog = createLog('info', { write });
  const { line } = await place.start();
  const limits = { processes: 1, memoryBytes: 1, fileBytes: 1 };
  const ended = { name: 'pip', code: 1, signal: null, isOutOfMemory: false, lastLines: [] };
  const away = registryUnavailable('registry.test', 'ECONNREFUSED');
  const good = place.builder.build;
  for (const [index, error] of [away, away, stepFailed(ended, limits)].entries()) {
    place.builder.build = () => Promise.reject(error);
    const { verdict } = await line.submit(await place.park(`p${index}`));
    assert.equal((await verdict).isLive, false);
  }
  assert.deepEqual(told, ['registry does not answer']);
  place.builder.build = good;
  place.builder.may.resolve();
  const last = await line.submit(await place.park('p3'));
  assert.equal((await last.verdict).isLive, true);
  assert.deepEqual(told, ['registry does not answer', 'trouble is over']);
});

/** A runtime that shows the page about maintenance with a delay. As in a cluster, the end of maintenance waits for the page. */
class SlowPage extends NullRuntime {
  isOn = false;
  #beginning = Promise.resolve();

  override async beginMaintenance(): Promise<boolean> {
    this.#beginning = wait(20).then(() => {
      this.isOn = true;
    });
    await this.#beginning;
    return false;
  }

  override async endMaintenance(): Promise<void> {
    await this.#beginning;
    this.isOn = false;
  }
}

async function live() {
  const place = await Place.make();
  const runtime = new SlowPage();
  place.runtime = runtime;
  const { line } = await place.start();
  place.builder.may.resolve();
  await (await line.submit(await place.park('p1'))).verdict;
  return { place, line, runtime };
}

test('threat 119: if one person ends the maintenance mode of a tool while another begins it, the store says afterwards what visitors really see', async () => {
  const { place, line, runtime } = await live();
  await using _place = place;
  await Promise.all([line.setMaintenance(wikibot, true, alice), line.setMaintenance(wikibot, false, bob)]);
  assert.equal(runtime.isOn, false);
  assert.equal(place.store.tool(wikibot).isInMaintenance, false);
});

test('threat 119: if the server cannot record that the maintenance mode of a tool begins, visitors still get the tool', async () => {
  const { place, line, runtime } = await live();
  await using _place = place;
  const other = new DatabaseSync(join(place.folder, 'store.sqlite'));
  other.exec(
    `CREATE TRIGGER full BEFORE UPDATE OF is_in_maintenance ON tools BEGIN SELECT RAISE(ABORT, 'full'); END`,
  );
  await assert.rejects(line.setMaintenance(wikibot, true, alice), /full/);
  assert.equal(runtime.isOn, false);
  other.exec('DROP TRIGGER full');
  other.close();
  await line.setMaintenance(wikibot, true, alice);
  assert.equal(runtime.isOn && place.store.tool(wikibot).isInMaintenance, true);
});
