import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { DiskRoom, type DiskSpace } from '../../../src/core/disk/disk-space.ts';
import { DiskPace } from '../../../src/sandbox/disk/disk-pace.ts';

const AMPLE: DiskSpace = { freeBytes: 1e11, bytes: 2e11, freeEntries: 1e6, entries: 2e6, low: null };

/** A disk that has ample space when it is first read, and the space `later` whenever it is read again. */
class ChangingRoom extends DiskRoom {
  readonly #later: DiskSpace;
  #isRead = false;

  constructor(later: Partial<DiskSpace>) {
    super(tmpdir());
    this.#later = { ...AMPLE, ...later };
  }

  override async space(): Promise<DiskSpace> {
    const space = this.#isRead ? this.#later : AMPLE;
    this.#isRead = true;
    return space;
  }
}

for (const [title, later, cause] of [
  ['many files were made quickly', { freeEntries: AMPLE.freeEntries - 3000 }, 'entries'],
  ['many bytes were written quickly', { freeBytes: AMPLE.freeBytes - 100 * 1024 * 1024 }, 'bytes'],
  ['the disk has few free entries left', { low: 'entries' }, 'entries'],
  ['the disk has few free bytes left', { low: 'bytes' }, 'bytes'],
] as const) {
  test(`threat 83: if the disk may soon be full, the next measurement of disk use comes before the usual pause between measurements is over: ${title}`, async () => {
    const pace = new DiskPace({ room: new ChangingRoom(later), pauseMs: () => 3_600_000, rest: 19 });
    const next = await pace.next(1, AbortSignal.timeout(20_000));
    assert.equal(next.cause, cause);
  });
}

test('if the disk does not fill quickly, the next measurement of disk use comes after the usual pause between measurements', async () => {
  const pace = new DiskPace({
    room: new ChangingRoom({ freeEntries: AMPLE.freeEntries - 100 }),
    pauseMs: () => 300,
    rest: 1,
  });
  assert.equal((await pace.next(0)).cause, 'pause');
});
