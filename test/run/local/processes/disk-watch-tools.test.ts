import assert from 'node:assert/strict';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { DiskRoom } from '../../../../src/core/disk/disk-space.ts';
import { SmallDisk } from '../../../support/small-disk.ts';
import { watchedOn } from './disk-watch-bench.ts';

const MIB = 1024 * 1024;
const roomLeft = `
import os, time
def left():
    room = os.statvfs('/tmp')
    return room.f_bavail * room.f_frsize / ${MIB}`;

/**
 * A program that makes deleted files of at most `most` MiB together while `condition` holds, and passes them on to a new
 * process all the time, so that no search finds them.
 */
const handing = (condition: string, most: number) => `${roomLeft}
if os.fork(): time.sleep(600)
held = 0
while True:
    while held < ${most} and ${condition}:
        try: os.write(os.open('/tmp', os.O_TMPFILE | os.O_RDWR), bytes(${MIB}))
        except OSError: break
        held += 1
    time.sleep(0.003)
    if os.fork(): os._exit(0)`;

/** A program whose log slowly grows to 12 MiB, and then even more slowly. */
const logging = `
import time
with open('/tmp/log', 'wb', 0) as log:
    for count in range(80):
        log.write(bytes(${Math.floor((12 * MIB) / 80)}))
        time.sleep(0.05)
    while True:
        try: log.write(bytes(4096))
        except OSError: pass
        time.sleep(0.05)`;

/** Python statements that wait until the disk is no longer nearly full. */
const untilRoom = `${roomLeft}
while left() < 10: time.sleep(0.05)
`;

/**
 * Runs programs, each of the tool with its number, on a disk of 100 MiB. Tool 3 is a preview of tool 1.
 *
 * @param fullMs - How long a file of no tool keeps the disk nearly full at first, in milliseconds.
 * @returns why programs were ended, in this order, as soon as `count` programs have been ended or 90 s are over.
 */
async function firstEnds(
  count: number,
  bytes: number,
  programs: readonly (readonly [tool: number, program: string])[],
  fullMs = 0,
): Promise<string[]> {
  using disk = new SmallDisk({ mebibytes: 100, entries: 10_000 });
  const start = await watchedOn(disk.folder, bytes);
  const other = join(disk.folder, 'other');
  const { freeBytes } = await new DiskRoom(disk.folder).space();
  await writeFile(other, Buffer.alloc(fullMs > 0 ? freeBytes - 3 * MIB : 0));
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const ends: string[] = [];
  const stops: (() => Promise<void>)[] = [];
  try {
    for (const [tool, program] of programs) {
      const stop = await start(tool, ['python3', '-c', program], ({ kind }) => {
        ends.push(`${tool}: ${kind}`);
        void stop();
        if (ends.length === count) resolve();
      });
      stops.push(stop);
    }
    await wait(fullMs);
    await truncate(other, 0);
    const timer = setTimeout(resolve, 90_000);
    await over;
    clearTimeout(timer);
    return ends;
  } finally {
    for (const stop of stops) await stop();
  }
}

test('threat 212: if a tool and its preview pass on deleted files from process to process, each below run_disk, the server ends both when they have more than a quarter of the disk together', {
  skip: SmallDisk.whyNot,
}, async () => {
  // The second program follows as soon as the first one has taken room. So no measurement comes between them.
  const programs = [
    [1, `import time\ntime.sleep(4)\n${handing('True', 18)}`],
    [3, handing('(held > 0 or left() < 80)', 18)],
  ] as const;
  const ends = await firstEnds(2, 20 * MIB, programs);
  assert.deepEqual(ends.sort(), ['1: bytes-of-tool', '3: bytes-of-tool']);
});

test('threat 212: if processes of a tool and its preview fill the disk with deleted files that they pass on, the server ends them before a process with a log that grows slowly', {
  skip: SmallDisk.whyNot,
}, async () => {
  const filling = `import time\ntime.sleep(7)\n${handing('left() > 2', 20)}`;
  const tools = [1, 3, 1, 3, 1, 3];
  const programs = [[2, logging] as const, ...tools.map((tool) => [tool, filling] as const)];
  // Four of the six fill the disk together. The others find no room.
  const ends = await firstEnds(3, 1024 * MIB, programs);
  assert.match(ends.join(), /^([13]: room,?){3,}$/);
});

test('threat 212: if a process begins to hide files on a full disk after a measurement that found no such process, the server ends it before a process with a log that grows slowly', {
  skip: SmallDisk.whyNot,
}, async () => {
  const programs = [
    [2, `${untilRoom}${logging}`],
    [1, `${untilRoom}time.sleep(5)\n${handing('left() > 2', 1000)}`],
  ] as const;
  assert.deepEqual(await firstEnds(1, 1024 * MIB, programs, 6000), ['1: room']);
});
