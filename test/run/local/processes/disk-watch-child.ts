// Runs a program in a sandbox that writes to a small disk, as the user who starts this script. Prints why the disk watch ended
// the program, or `"beside"` if the watch ended the Python program beside it first. That program belongs to the tool with the
// number `besideTool`, and the first program to tool 1.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DiskRoom } from '../../../../src/core/disk/disk-space.ts';
import { createLog } from '../../../../src/core/log/log.ts';
import { DiskWatch } from '../../../../src/run/local/processes/disk-watch.ts';
import { makeRunFolders } from '../../../../src/run/local/processes/run-folders.ts';
import type { DiskEnd } from '../../../../src/sandbox/sandbox.ts';
import { sandboxIn, startIn } from '../../../sandbox/sandbox-bench.ts';

const [disk = '', bytes = '', beside = '', besideTool = '', ...argv] = process.argv.slice(2);
const sandbox = await sandboxIn(disk, 'isolated');
// Tool 3 is a preview of tool 1.
const shareOf = (toolNumber: number) => (toolNumber === 3 ? 1 : toolNumber);
const limits = { bytes: Number(bytes), entries: 0 };
const log = createLog('error');
const watch = new DiskWatch({ limits, room: new DiskRoom(disk), shareOf, log });
const release = join(disk, 'release');
await mkdir(release);
await mkdir(join(disk, 'run'));

async function start(toolNumber: number, command: readonly string[], onOver: (end: DiskEnd) => void) {
  await sandbox.own([release], toolNumber);
  const place = await makeRunFolders(join(disk, 'run'), toolNumber, { sandbox, log });
  const workspace = { source: release, target: '/workspace', isWritable: false, writesTo: place.writesTo };
  const child = startIn(sandbox, command, {
    mounts: [workspace, ...place.mounts],
    limits: { processes: 32, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 ** 3 },
    toolNumber,
  });
  child.output.resume();
  const watching = watch.watch(place, onOver);
  return async () => {
    watching[Symbol.dispose]();
    child.kill();
    await child.exited;
    await place.remove();
  };
}

const { promise: over, resolve } = Promise.withResolvers<DiskEnd | 'beside' | null>();
const ends = [await start(1, argv, resolve)];
if (beside !== '')
  ends.push(await start(Number(besideTool), ['python3', '-c', beside], () => resolve('beside')));
const limit = setTimeout(() => resolve(null), 300_000);
process.stdout.write(JSON.stringify(await over));
clearTimeout(limit);
for (const end of ends) await end();
