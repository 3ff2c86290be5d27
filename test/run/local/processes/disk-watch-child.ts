// Runs a program in a sandbox that writes to a small disk, as the user who starts this. Prints why the disk watch ended it,
// or `"beside"` if the watch ended the Python program of another tool first.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DiskRoom } from '../../../../src/core/disk/disk-space.ts';
import { createLog } from '../../../../src/core/log/log.ts';
import { DiskWatch } from '../../../../src/run/local/processes/disk-watch.ts';
import type { DiskEnd } from '../../../../src/sandbox/sandbox.ts';
import { sandboxIn, startIn } from '../../../sandbox/sandbox-bench.ts';

const [disk = '', bytes = '', beside = '', ...argv] = process.argv.slice(2);
const sandbox = await sandboxIn(disk, 'isolated');
const limits = { bytes: Number(bytes), entries: 0 };
const watch = new DiskWatch({ limits, room: new DiskRoom(disk), log: createLog('error') });

async function start(toolNumber: number, command: readonly string[], onOver: (end: DiskEnd) => void) {
  const folder = join(disk, 'run', `watched-${process.pid}-${toolNumber}`);
  const source = join(folder, 'tmp');
  await mkdir(source, { recursive: true });
  await sandbox.own([source], toolNumber);
  const child = startIn(sandbox, command, {
    mounts: [{ source, target: '/tmp', isWritable: true }],
    limits: { processes: 32, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 ** 3 },
    toolNumber,
  });
  child.output.resume();
  const watching = watch.watch({ folder, toolNumber }, onOver);
  return async () => {
    watching[Symbol.dispose]();
    child.kill();
    await child.exited;
  };
}

const { promise: over, resolve } = Promise.withResolvers<DiskEnd | 'beside' | null>();
const ends = [await start(1, argv, resolve)];
if (beside !== '') ends.push(await start(2, ['python3', '-c', beside], () => resolve('beside')));
const limit = setTimeout(() => resolve(null), 180_000);
process.stdout.write(JSON.stringify(await over));
clearTimeout(limit);
for (const end of ends) await end();
