import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineRoom, LogFollower } from '../../../src/run/logs/log-follower.ts';

const signal = new AbortController().signal;
const line = (text: string) => ({ at: '', process: 'web.1', version: 1, text });
const long = 'x'.repeat(16_000);

/** Reads all lines that wait for these readers. @returns how many MiB of text they were. */
async function waiting(followers: readonly LogFollower[]): Promise<number> {
  let characters = 0;
  for (const follower of followers) {
    for await (const lines of follower.batches(false, signal))
      for (const { text } of lines) characters += text.length;
  }
  return characters / 1024 / 1024;
}

test('threat 21: the waiting log lines of 300 stalled readers share one memory limit, and a new reader still gets lines', async () => {
  const room = new LineRoom();
  const followers = Array.from({ length: 300 }, () => new LogFollower(() => true, room));
  for (let count = 0; count < 1000; count += 1) for (const follower of followers) follower.push(line(long));
  const last = new LogFollower(() => true, room);
  last.push(line('seen'));
  const [seen] = (await Array.fromAsync(last.batches(false, signal))).flat();
  assert.equal(seen?.text, 'seen');
  const held = await waiting(followers);
  assert.ok(held < 40, `${held} MiB wait`);
});

test('threat 21: the memory of log lines that wait for a reader is released when the reader reads or disconnects', async () => {
  const room = new LineRoom();
  const one = new LogFollower(() => true, room);
  for (let count = 0; count < 1000; count += 1) one.push(line(long));
  const first = await waiting([one]);
  for (let count = 0; count < 1000; count += 1) one.push(line(long));
  assert.equal(await waiting([one]), first);
  for (let round = 0; round < 100; round += 1) {
    using gone = new LogFollower(() => true, room);
    for (let count = 0; count < 1000; count += 1) gone.push(line(long));
  }
  for (let count = 0; count < 1000; count += 1) one.push(line(long));
  assert.equal(await waiting([one]), first);
});

test('a reader gets the waiting lines, at most 100 at a time, and ends when its signal fires', async () => {
  const leave = new AbortController();
  using follower = new LogFollower(() => true, new LineRoom());
  follower.begin(Array.from({ length: 150 }, (_, index) => line(`${index}`)));
  const sizes: number[] = [];
  for await (const lines of follower.batches(true, leave.signal)) {
    sizes.push(lines.length);
    if (sizes.length === 2) setTimeout(() => ['a', 'b'].map((text) => follower.push(line(text))), 5);
    if (sizes.length === 3) setTimeout(() => leave.abort(), 5);
  }
  assert.deepEqual(sizes, [100, 50, 2]);
});

test('if a log’s old lines need too much memory together, a reader gets the newest lines, and a note that older lines are left out', async () => {
  const follower = new LogFollower(() => true, new LineRoom());
  follower.begin([line('oldest'), ...Array.from({ length: 1000 }, () => line(long)), line('newest')]);
  const lines = (await Array.fromAsync(follower.batches(false, signal))).flat();
  assert.match(lines[0]?.text ?? '', /older lines are left out/);
  assert.equal(lines.at(-1)?.text, 'newest');
  assert.ok(lines.length < 400, `${lines.length} lines`);
});
