import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryUsage } from 'node:process';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { execa } from 'execa';
import { createLog } from '../../../src/core/log/log.ts';
import { LogLines } from '../../../src/run/logs/log-lines.ts';
import { ToolLog } from '../../../src/run/logs/tool-log.ts';
import type { LogLine, LogMatch } from '../../../src/run/runtime.ts';

const log = createLog('error');
const isRoot = process.getuid?.() === 0;

async function inFolder(action: (folder: string) => Promise<void>): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), 'toolforge-push-log-'));
  try {
    await action(join(parent, 'tool'));
  } finally {
    await rm(parent, { recursive: true });
  }
}

const query = (lines: number, more: { follow?: boolean; signal?: AbortSignal } = {}) => ({
  process: null,
  lines,
  follow: more.follow ?? false,
  signal: more.signal ?? new AbortController().signal,
});

test('when the log file of a process is full, it replaces the previous log file, whose lines are deleted', async () => {
  await inFolder(async (folder) => {
    const toolLog = new ToolLog({ folder, sizeBytes: 10_000, log });
    for (let number = 0; number < 1000; number += 1) await toolLog.append('web.1', [`line ${number}`]);
    assert.deepEqual((await readdir(folder)).sort(), ['web.1.log', 'web.1.log.1']);
    for (const name of await readdir(folder)) assert.ok((await stat(join(folder, name))).size <= 10_000);
    // A restarted server reads the same files.
    const again = new ToolLog({ folder, sizeBytes: 10_000, log });
    const lines = (await Array.fromAsync(again.read(query(300)))).flat();
    assert.equal(lines.length, 300);
    assert.deepEqual(
      lines.map(({ text }) => text),
      Array.from({ length: 300 }, (_, index) => `line ${700 + index}`),
    );
  });
});

test('each line of a tool’s log is read with its release; lines of an earlier server version, which stored no releases, have no release', async () => {
  await inFolder(async (folder) => {
    const toolLog = new ToolLog({ folder, sizeBytes: 10_000, log });
    await mkdir(folder);
    await writeFile(
      join(folder, 'web.1.log'),
      '2026-01-01T00:00:00.000Z v3 is old\n2026-01-01T00:00:00.000Z \n',
    );
    await toolLog.append('web.1', ['v4 is new', ''], 41);
    await toolLog.append('web.1', ['of no release']);
    const lines = (await Array.fromAsync(toolLog.read(query(9)))).flat();
    assert.deepEqual(
      lines.map(({ version, text }) => [version, text]),
      [
        [null, 'v3 is old'],
        [null, ''],
        [41, 'v4 is new'],
        [41, ''],
        [null, 'of no release'],
      ],
    );
    assert.ok(lines.every(({ at }) => new Date(at).toISOString() === at));
  });
});

test('a log file whose newest line is too old is deleted; if only its first line is too old, it replaces the previous log file', async () => {
  await inFolder(async (folder) => {
    const toolLog = new ToolLog({ folder, sizeBytes: 10_000, log });
    const line = (process: string, day: number) =>
      toolLog.appendLines([
        { at: `2026-11-0${day}T00:00:00.000Z`, process, version: null, text: `of day ${day}` },
      ]);
    const written = (name: string, day: number) =>
      utimes(join(folder, name), new Date(`2026-11-0${day}`), new Date(`2026-11-0${day}`));
    for (const [process, day] of [
      ['ended.1', 1],
      ['going.1', 1],
      ['going.1', 4],
      ['fresh.1', 4],
    ] as const)
      await line(process, day);
    await written('ended.1.log', 1);
    await written('going.1.log', 4);
    const before = Date.parse('2026-11-03');
    const names = async () => (await readdir(folder)).sort();
    await toolLog.dropOld(before);
    assert.deepEqual(await names(), ['fresh.1.log', 'going.1.log.1']);
    await line('going.1', 5);
    await toolLog.dropOld(before);
    assert.deepEqual(await names(), ['fresh.1.log', 'going.1.log', 'going.1.log.1']);
    const texts = (await Array.fromAsync(toolLog.read(query(9)))).flat().map(({ text }) => text);
    assert.deepEqual(texts, ['of day 1', 'of day 4', 'of day 4', 'of day 5']);
    await toolLog.dropOld(Date.parse('2099-01-01'));
    assert.deepEqual(await names(), []);
    await line('going.1', 6);
    assert.deepEqual(await names(), ['going.1.log']);
  });
});

test('threat 60: if a tool’s processes have ever new names, the logs of only the newest 200 processes are kept', async () => {
  await inFolder(async (folder) => {
    const toolLog = new ToolLog({ folder, sizeBytes: 100, log });
    for (let number = 0; number < 250; number += 1) {
      await toolLog.append(`p${number}.1`, ['a line']);
      await utimes(join(folder, `p${number}.1.log`), number, number);
    }
    const kept = await readdir(folder);
    assert.equal(new Set(kept.map((name) => name.split('.')[0])).size, 200);
    assert.ok(
      kept.includes('p249.1.log') && kept.includes('p50.1.log') && !kept.includes('p49.1.log'),
      `${kept}`,
    );
    await toolLog.append('p0.1', ['back']);
    const [line] = (await Array.fromAsync(toolLog.read({ ...query(10), process: 'p0' }))).flat();
    assert.equal(line?.text, 'back');
  });
});

test('a tool’s log continues after its files were deleted by hand', async () => {
  await inFolder(async (folder) => {
    const toolLog = new ToolLog({ folder, sizeBytes: 100, log });
    await toolLog.append('web.1', ['one']);
    await rm(folder, { recursive: true });
    for (const text of ['two', 'three']) await toolLog.append('web.1', [text]);
    // The next line would not have fitted into the deleted file.
    await rm(join(folder, 'web.1.log'));
    for (const text of ['four'.padEnd(80), 'five']) await toolLog.append('web.1', [text]);
    const lines = (await Array.fromAsync(toolLog.read(query(10)))).flat();
    assert.deepEqual(
      lines.map(({ text }) => text.trim()),
      ['four', 'five'],
    );
  });
});

test('if the disk is full, a tool’s log loses new lines, but no old line, and has no half line', {
  skip: !isRoot,
}, async () => {
  await inFolder(async (folder) => {
    await mkdir(folder);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]);
    try {
      const toolLog = new ToolLog({ folder, sizeBytes: 40_000, log: createLog('fatal') });
      await toolLog.append('web.1', ['one']);
      await writeFile(join(folder, 'full'), Buffer.alloc(56_000));
      for (let count = 0; count < 10; count += 1) await toolLog.append('web.1', ['x'.repeat(9000)]);
      await rm(join(folder, 'full'));
      await toolLog.append('web.1', ['two']);
      const lines = (await Array.fromAsync(toolLog.read(query(10)))).flat();
      assert.deepEqual(
        lines.map(({ text }) => text.slice(0, 10)),
        ['one', 'two'],
      );
    } finally {
      await execa('umount', [folder]);
    }
  });
});

test('a search in a log finds the newest lines with a text in a time span, even old lines, and then each new line with this text', async () => {
  await inFolder(async (folder) => {
    const toolLog = new ToolLog({ folder, sizeBytes: 450_000, log });
    const at = (second: number) => new Date(1_800_000_000_000 + second * 1000).toISOString();
    for (const process of ['web.1', 'web.2']) {
      for (let first = 0; first < 6000; first += 1000) {
        const numbers = Array.from({ length: 1000 }, (_, index) => first + index);
        const text = (number: number) => (number % 1000 === 7 ? `needle ${number} ü` : 'hay '.repeat(25));
        await toolLog.appendLines(
          numbers.map((number) => ({ at: at(number), process, version: 1, text: text(number) })),
        );
      }
    }
    assert.equal((await readdir(folder)).length, 4);
    const found = async (lines: number, match: LogMatch, process: string | null = null) =>
      (await Array.fromAsync(toolLog.read({ ...query(lines), process, match })))
        .flat()
        .map((line) => `${line.process} ${line.text}`);
    const needles = { since: null, until: null, text: 'needle' };
    assert.equal((await found(1000, needles)).length, 12);
    assert.deepEqual(await found(3, { ...needles, until: at(3007) }, 'web.1'), [
      'web.1 needle 1007 ü',
      'web.1 needle 2007 ü',
      'web.1 needle 3007 ü',
    ]);
    assert.deepEqual((await found(5, { ...needles, since: at(4007) })).sort(), [
      'web.1 needle 4007 ü',
      'web.1 needle 5007 ü',
      'web.2 needle 4007 ü',
      'web.2 needle 5007 ü',
    ]);
    assert.deepEqual(await found(5, { since: null, until: null, text: 'needle.' }), []);
    const leave = new AbortController();
    const seen: string[] = [];
    const following = query(1, { follow: true, signal: leave.signal });
    for await (const lines of toolLog.read({ ...following, match: needles })) {
      seen.push(...lines.map(({ text }) => text));
      if (seen.length === 1) await toolLog.append('web.1', ['hay', 'a new needle']);
      else leave.abort();
    }
    assert.deepEqual(seen, ['needle 5007 ü', 'a new needle']);
  });
});

test('a search in a log delays no new line, keeps no lines in memory except those that it found, and misses no line if the log file becomes full and is renamed during the search', async () => {
  await inFolder(async (folder) => {
    await mkdir(folder);
    const block = `2026-01-01T00:00:00.000Z a needle that is found\n${`2026-01-01T00:00:00.000Z ${'hay '.repeat(25)}\n`.repeat(520)}`;
    await writeFile(join(folder, 'web.1.log'), block.repeat(300));
    const toolLog = new ToolLog({ folder, sizeBytes: 300 * block.length + 10, log });
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    const before = memoryUsage().heapUsed;
    const order: string[] = [];
    const match = { since: null, until: null, text: 'needle' };
    const searching = Array.fromAsync(toolLog.read({ ...query(1000), match })).then((batches) => {
      order.push('found');
      return batches.flat();
    });
    await toolLog.append('web.1', ['a new line that is too much for the file']);
    order.push('written');
    const found = await searching;
    assert.deepEqual(order, ['written', 'found']);
    assert.deepEqual((await readdir(folder)).sort(), ['web.1.log', 'web.1.log.1']);
    assert.equal(found.length, 300);
    collect();
    const grown = memoryUsage().heapUsed - before;
    assert.ok(grown < 5_000_000, `${grown} bytes are kept for ${found.length} short lines`);
  });
});

test('threat 222: sixteen readers that ask for up to 10,000 long lines of a log at once share one memory limit', async () => {
  await inFolder(async (folder) => {
    await mkdir(folder);
    const line = `2026-01-01T00:00:00.000Zv1 я${'a'.repeat(5000)}\n`;
    await writeFile(join(folder, 'web.1.log'), line.repeat(1600));
    const toolLog = new ToolLog({ folder, sizeBytes: 10_000_000, log });
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    const before = memoryUsage().heapUsed;
    let most = 0;
    const look = () => {
      collect();
      most = Math.max(most, memoryUsage().heapUsed - before);
    };
    const timer = setInterval(look, 200);
    const readers = Array.from({ length: 16 }, () => toolLog.read(query(10_000)));
    const batches = await Promise.all(readers.map((reader) => reader.next()));
    clearInterval(timer);
    look();
    for (const { value } of batches) assert.ok(value.length > 0);
    for (const reader of readers) await reader.return(undefined);
    // Two bytes for each of 32 million characters, and the blocks that are being read.
    assert.ok(most < 90_000_000, `${most} bytes`);
  });
});

test('reading the log of a tool that has printed nothing returns no lines', async () => {
  await inFolder(async (folder) => {
    assert.deepEqual(
      (await Array.fromAsync(new ToolLog({ folder, sizeBytes: 1000, log }).read(query(10)))).flat(),
      [],
    );
  });
});

test('if a client follows a log too slowly, the server drops lines, tells the client how many, and does not delay the tool', async () => {
  await inFolder(async (folder) => {
    const toolLog = new ToolLog({ folder, sizeBytes: 10_000_000, log });
    await toolLog.append('web.1', ['first']);
    const leave = new AbortController();
    const reader = toolLog.read(query(10, { follow: true, signal: leave.signal }));
    const seen: LogLine[] = [];
    seen.push(...((await reader.next()).value as LogLine[]));
    for (let count = 0; count < 30; count += 1)
      await toolLog.append(
        'web.1',
        Array.from({ length: 100 }, (_, index) => `${count * 100 + index}`),
      );
    for await (const lines of reader) {
      seen.push(...lines);
      if (lines.some(({ text }) => text.includes('left out'))) leave.abort();
    }
    assert.equal(seen.length, 1002);
    assert.equal(seen.at(-1)?.text, '… 2000 lines left out');
    assert.equal(seen.at(-2)?.text, '999');
  });
});

test('log lines keep their text and colours, lose other control sequences, and are cut at 16,384 characters', () => {
  const bytes = Buffer.from(
    `grün\r\n\u001b]0;title\u0007\u001b[31mred\u001b[0m\n${'x'.repeat(100_000)}\nlast`,
  );
  for (const size of [1, 7, 65_536]) {
    const lines = new LogLines();
    const seen: string[] = [];
    for (let start = 0; start < bytes.length; start += size)
      seen.push(...lines.push(bytes.subarray(start, start + size)));
    seen.push(...lines.end());
    assert.deepEqual([seen[0], seen[1], seen[3], seen.length], ['grün', '\u001b[31mred\u001b[0m', 'last', 4]);
    assert.match(seen[2] ?? '', /^x{16384}… \(cut\)$/);
  }
});
