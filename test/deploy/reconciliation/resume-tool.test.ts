import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NullRuntime } from '../../../bench/null-back-ends.ts';
import { createLog } from '../../../src/core/log/log.ts';
import type { Release } from '../../../src/core/types.ts';
import { NOTHING_OUTSIDE, type OutsideVars } from '../../../src/core/variables/outside-vars.ts';
import { resumeTool } from '../../../src/deploy/reconciliation/resume-tool.ts';
import { unreachable } from '../../../src/kubernetes/retry.ts';
import { alice } from '../../support/alice.ts';
import { wikibot } from '../../support/store-records.ts';
import { Place } from '../place.ts';

/** A runtime whose cluster does not answer the first `failures` calls of `cleanUp`. */
class LateRuntime extends NullRuntime {
  failures: number;
  isClean = false;

  constructor(failures: number) {
    super();
    this.failures = failures;
  }

  override async cleanUp(): Promise<void> {
    this.failures -= 1;
    if (this.failures >= 0) throw unreachable(null);
    this.isClean = true;
  }
}

test('processes that a killed server left are removed, even if the cluster does not answer at the next start', async () => {
  await using place = await Place.make();
  const lines: { level: string; msg: string }[] = [];
  const log = createLog('info', { write: (text) => void lines.push(JSON.parse(text)) });
  const runtime = new LateRuntime(3);
  await resumeTool({ ...place.context, runtime, log }, wikibot, AbortSignal.timeout(20_000), 20);
  assert.equal(runtime.isClean, true);
  assert.deepEqual(
    lines.filter(({ level }) => level !== 'warn').map(({ level, msg }) => [level, msg]),
    [
      ['error', 'cluster does not answer'],
      ['info', 'tool resumed'],
    ],
  );
});

test('a server that is being stopped no longer tries to resume a tool', async () => {
  await using place = await Place.make();
  const runtime = new LateRuntime(1);
  const stop = new AbortController();
  const resuming = resumeTool({ ...place.context, runtime }, wikibot, stop.signal, 50_000);
  stop.abort();
  await resuming;
  assert.equal(runtime.isClean, false);
});

test('threat 83: the server survives a store that cannot be read for a moment while tools are resumed', async () => {
  await using place = await Place.make();
  const runtime = new LateRuntime(1);
  let reads = 0;
  place.store.unfinishedDeployments = () => {
    reads += 1;
    if (reads === 1) throw new Error('the disk fails');
    return [];
  };
  await resumeTool({ ...place.context, runtime }, wikibot, AbortSignal.timeout(20_000), 20);
  assert.equal(runtime.isClean, true);
  assert.equal(reads, 2);
});

/** A runtime that has read the config vars from outside only when `may` resolves. */
class SlowRuntime extends NullRuntime {
  readonly asked = Promise.withResolvers<void>();
  readonly may = Promise.withResolvers<void>();
  readonly resumed: number[] = [];

  override async outsideVars(): Promise<OutsideVars> {
    this.asked.resolve();
    await this.may.promise;
    return NOTHING_OUTSIDE;
  }

  override async resume(release?: Release): Promise<void> {
    this.resumed.push(release?.version ?? 0);
  }
}

test('threat 118: if another release goes live, or the tool is stopped, while a starting server reads config vars from outside, the old release is not resumed', async () => {
  await using place = await Place.make();
  const { line } = await place.start();
  place.builder.may.resolve();
  const one = await place.park('p1');
  await (await line.submit(one)).verdict;
  const resumedDuring = async (change: () => Promise<unknown>): Promise<readonly number[]> => {
    const runtime = new SlowRuntime();
    const resuming = resumeTool({ ...place.context, runtime }, wikibot, AbortSignal.timeout(20_000));
    await runtime.asked.promise;
    await change();
    runtime.may.resolve();
    await resuming;
    return runtime.resumed;
  };
  assert.deepEqual(await resumedDuring(async () => {}), [1]);
  const push = async () => {
    const two = await place.park('p2', { oldCommit: one.commit });
    assert.deepEqual(await (await line.submit(two)).verdict, { isLive: true, version: 2 });
  };
  assert.deepEqual(await resumedDuring(push), []);
  assert.deepEqual(await resumedDuring(() => line.stop(wikibot, alice)), []);
});
