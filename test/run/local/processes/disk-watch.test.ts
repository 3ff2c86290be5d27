import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DiskRoom } from '../../../../src/core/disk/disk-space.ts';
import { createLog } from '../../../../src/core/log/log.ts';
import { DiskWatch } from '../../../../src/run/local/processes/disk-watch.ts';
import type { DiskEnd } from '../../../../src/sandbox/sandbox.ts';
import { sandboxIn, startIn } from '../../../sandbox/sandbox-bench.ts';
import { SmallDisk } from '../../../support/small-disk.ts';

/** Makes deleted files that no process holds open, because each is in a socket's queue. */
const queueing = `
import array, os, socket, time
kept = []
while True:
    one, other = socket.socketpair()
    file = os.open('/tmp', os.O_TMPFILE | os.O_RDWR)
    try: os.write(file, bytes(1 << 20))
    except OSError: time.sleep(1)
    one.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [file]))])
    os.close(file)
    kept.append((one, other))`;

test('threat 83: if a process fills the disk with files in socket queues, the server ends it', {
  skip: SmallDisk.whyNot,
}, async () => {
  using disk = new SmallDisk({ mebibytes: 100, entries: 10_000 });
  const sandbox = await sandboxIn(disk.folder, 'isolated');
  const folder = join(disk.folder, 'run', `queue-${process.pid}`);
  const source = join(folder, 'tmp');
  await mkdir(source, { recursive: true });
  await sandbox.own([source], 1);
  const child = startIn(sandbox, ['python3', '-c', queueing], {
    mounts: [{ source, target: '/tmp', isWritable: true }],
    limits: { processes: 32, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 ** 3 },
  });
  child.output.resume();
  const limits = { bytes: 0, entries: 0 };
  const watch = new DiskWatch({ limits, room: new DiskRoom(disk.folder), log: createLog('error') });
  const { promise: over, resolve } = Promise.withResolvers<DiskEnd | null>();
  using watching = watch.watch({ folder, toolNumber: 1 }, resolve);
  assert.ok(watching);
  const limit = setTimeout(() => resolve(null), 60_000);
  assert.deepEqual(await over, { kind: 'room' });
  clearTimeout(limit);
  child.kill();
  await child.exited;
});
