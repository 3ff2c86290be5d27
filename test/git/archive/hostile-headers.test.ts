import assert from 'node:assert/strict';
import { memoryUsage } from 'node:process';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type SourceEntry, sourceEntries } from '../../../src/git/archive/archive-entries.ts';
import { longestPause } from '../../support/hostile/longest-pause.ts';
import { longHeader, pax, ustarHeader } from './headers.ts';

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
  test(`threat 96: an archive with ${title} is refused, and does not keep the server from other work for more than 200 ms`, async () => {
    const sent = blocks();
    const limits = { files: 2000, bytes: 1024 ** 3 };
    const pause = await longestPause(() =>
      assert.rejects(drainEntries(sourceEntries(all(sent), limits, 'hello')), { code: 'ARCHIVE_TOO_LARGE' }),
    );
    assert.ok(pause < 200, `a pause of ${pause} ms`);
  });

test('an archive with too many headers is refused at the limit, before the rest of the archive is read', async () => {
  let made = 0;
  async function* headers() {
    for (; made < 1_000_000; made += 100) yield Buffer.concat(Array(100).fill(pax('comment', '')));
  }
  const reading = drainEntries(sourceEntries(headers(), { files: 100, bytes: 1024 ** 3 }, 'hello'));
  await assert.rejects(reading, { code: 'ARCHIVE_TOO_LARGE' });
  assert.ok(made < 2000, `${made} headers were read`);
});

test('threat 221: the server keeps little memory for an archive of 6,000 links in as many folders, all with long names', async () => {
  const name = 'я'.repeat(120);
  async function* headers() {
    for (let made = 0; made < 6000; made += 100)
      yield Buffer.concat(
        Array.from({ length: 100 }, (_, index) => [
          pax('path', `${name}-${made + index}/${name}-${made + index}`),
          pax('linkpath', name.repeat(2)),
          ustarHeader('link', '2'),
        ]).flat(),
      );
  }
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  const before = memoryUsage().heapUsed;
  let [links, grown] = [0, 0];
  const reading = (async () => {
    for await (const _ of sourceEntries(headers(), { files: 50_000, bytes: 1024 ** 3 }, 'hello')) {
      links += 1;
      if (links < 6000) continue;
      collect();
      grown = memoryUsage().heapUsed - before;
    }
  })();
  await assert.rejects(reading, { code: 'NOT_AN_ARCHIVE' });
  assert.equal(links, 6000);
  assert.ok(grown < 4_000_000, `${grown} bytes are kept`);
});

test('threat 223: reading two archives of 5,000 headers at the same time keeps the main thread busy for less than half of the time', async () => {
  const sent = Array(5000).fill(pax('comment', ''));
  const read = () =>
    assert.rejects(drainEntries(sourceEntries(all(sent), { files: 5000, bytes: 1024 ** 3 }, 'hello')), {
      code: 'NOT_AN_ARCHIVE',
    });
  const [startedAt, before] = [performance.now(), process.threadCpuUsage()];
  await Promise.all([read(), read()]);
  const { user, system } = process.threadCpuUsage(before);
  const part = (user + system) / 1000 / (performance.now() - startedAt);
  assert.ok(part < 0.5, `${part}`);
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
