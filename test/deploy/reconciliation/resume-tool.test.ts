import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NullRuntime } from '../../../bench/null-back-ends.ts';
import { createLog } from '../../../src/core/log/log.ts';
import { resumeTool } from '../../../src/deploy/reconciliation/resume-tool.ts';
import { unreachable } from '../../../src/kubernetes/retry.ts';
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
