import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SourceEntry, sourceEntries } from '../../../src/git/archive/archive-entries.ts';
import { longestPause } from '../../support/hostile/longest-pause.ts';
import { longHeader, pax } from './headers.ts';

const manyHeaders: readonly { title: string; blocks: () => Buffer[] }[] = [
  {
    title: 'a pax header for all entries with 60,000 keys, and 20,000 pax headers behind it',
    blocks: () => [longHeader('g', paxKeys(60_000)), ...Array(20_000).fill(pax('comment', ''))],
  },
  {
    title: 'a small pax header for all entries, and 30,000 pax headers without a file',
    blocks: () => [longHeader('g', paxKeys(6000)), ...Array(30_000).fill(pax('comment', ''))],
  },
  { title: 'pax headers of 4 MiB', blocks: () => Array(3).fill(longHeader('x', paxKeys(400_000))) },
  {
    title: 'long names of 4 MiB',
    blocks: () => Array(3).fill(longHeader('L', Buffer.alloc(4 * 1024 ** 2, './'))),
  },
  {
    title: 'more than 16 MiB of pax headers, none of which is too large',
    blocks: () => Array(1100).fill(longHeader('x', paxKeys(6500))),
  },
];
// Nothing else may run here meanwhile, so these tests have a file of their own.
for (const { title, blocks } of manyHeaders)
  test(`threat 96: an archive with ${title} is refused, and the process does other work meanwhile`, async () => {
    const sent = blocks();
    const limits = { files: 2000, bytes: 1024 ** 3 };
    const pause = await longestPause(() =>
      assert.rejects(drainEntries(sourceEntries(all(sent), limits)), { code: 'ARCHIVE_TOO_LARGE' }),
    );
    assert.ok(pause < 200, `a pause of ${pause} ms`);
  });

test('an archive with too many headers is refused at the limit, before the rest of the archive is read', async () => {
  let made = 0;
  async function* headers() {
    for (; made < 1_000_000; made += 100) yield Buffer.concat(Array(100).fill(pax('comment', '')));
  }
  const reading = drainEntries(sourceEntries(headers(), { files: 100, bytes: 1024 ** 3 }));
  await assert.rejects(reading, { code: 'ARCHIVE_TOO_LARGE' });
  assert.ok(made < 2000, `${made} headers were read`);
});

async function* all(blocks: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  yield* blocks;
}

async function drainEntries(entries: AsyncIterable<SourceEntry>): Promise<void> {
  for await (const entry of entries) if (entry.kind === 'file') for await (const _ of entry.content);
}

function paxKeys(count: number): Buffer {
  const keys = Array.from({ length: count }, (_, index) => index.toString(36).padStart(4, '0'));
  return Buffer.from(keys.map((key) => `10 ${key}=a\n`).join(''));
}
