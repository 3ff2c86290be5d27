import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  MAX_MANIFEST_BYTES,
  manifestOf,
  readManifest,
  secretsOf,
} from '../../src/recovery/archive/tool-manifest.ts';

const MANIFEST = {
  ...{ format: 1, tool: 'wikibot', madeAt: 1, live: null, releases: [], pack: null, replicas: {}, sizes: {} },
  ...{ paused: [], limits: {}, sharedConfig: [], isStopped: false, isInMaintenance: false, shallow: [] },
};

/** Returns the result of `work`, which must keep the server busy for a second at most. */
function quickly<Result>(work: () => Result): Result {
  const startedAt = performance.now();
  const result = work();
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 1000, `took ${tookMs} ms`);
  return result;
}

const keys = (count: number) => Array.from({ length: count }, (_, index) => `a${index.toString(36)}`);

test('threat 199: the manifest of an export with the longest allowed lists, such as 10,000 tags and 1,000 paused schedules, is accepted', () => {
  const tags = keys(10_000).map((name) => ({ ref: `refs/tags/${name}`, id: 'a'.repeat(40) }));
  const many = keys(1000).map((type) => [type, { memoryBytes: 1, cpuCores: 1 }] as const);
  const manifest = { ...MANIFEST, tags, sizes: Object.fromEntries(many), paused: keys(1000) };
  manifest.shallow = Array(10_000).fill('a'.repeat(40)) as never[];
  assert.deepEqual(readManifest(JSON.stringify(manifest)), manifestOf.parse(manifest));
});

test('threat 199: the manifest of an export is refused within 1 s if it has more than a million values or deep nesting', () => {
  const replicas = Object.fromEntries(keys(1_400_000).map((type) => [type.toUpperCase(), 1]));
  for (const text of [
    JSON.stringify({ ...MANIFEST, tags: [], replicas }).slice(0, MAX_MANIFEST_BYTES),
    '['.repeat(MAX_MANIFEST_BYTES),
  ])
    assert.equal(
      quickly(() => readManifest(text)),
      null,
    );
});

test('threat 199: 500,000 config vars in an export are refused within 1 s', () => {
  const configVars = Object.fromEntries(keys(500_000).map((name) => [name.toUpperCase(), '']));
  assert.equal(quickly(() => secretsOf.safeParse({ configVars })).success, false);
  assert.ok(secretsOf.safeParse({ configVars: { KEY: 'value' } }).success);
});
