// Runs a program in a sandbox that writes to a small disk, as the user who starts this. Prints why the disk watch ended it.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DiskRoom } from '../../../../src/core/disk/disk-space.ts';
import { createLog } from '../../../../src/core/log/log.ts';
import { DiskWatch } from '../../../../src/run/local/processes/disk-watch.ts';
import type { DiskEnd } from '../../../../src/sandbox/sandbox.ts';
import { sandboxIn, startIn } from '../../../sandbox/sandbox-bench.ts';

const [disk = '', bytes = '', ...argv] = process.argv.slice(2);
const sandbox = await sandboxIn(disk, 'isolated');
const folder = join(disk, 'run', `watched-${process.pid}`);
const source = join(folder, 'tmp');
await mkdir(source, { recursive: true });
await sandbox.own([source], 1);
const child = startIn(sandbox, argv, {
  mounts: [{ source, target: '/tmp', isWritable: true }],
  limits: { processes: 32, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 ** 3 },
});
child.output.resume();
const limits = { bytes: Number(bytes), entries: 0 };
const watch = new DiskWatch({ limits, room: new DiskRoom(disk), log: createLog('error') });
const { promise: over, resolve } = Promise.withResolvers<DiskEnd | null>();
const watching = watch.watch({ folder, toolNumber: 1 }, resolve);
const limit = setTimeout(() => resolve(null), 180_000);
process.stdout.write(JSON.stringify(await over));
clearTimeout(limit);
watching[Symbol.dispose]();
child.kill();
await child.exited;
