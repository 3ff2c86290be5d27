import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DiskRoom } from '../../../../src/core/disk/disk-space.ts';
import { createLog } from '../../../../src/core/log/log.ts';
import { DiskWatch } from '../../../../src/run/local/processes/disk-watch.ts';
import { makeRunFolders } from '../../../../src/run/local/processes/run-folders.ts';
import type { DiskEnd } from '../../../../src/sandbox/sandbox.ts';
import { sandboxIn, startIn } from '../../../sandbox/sandbox-bench.ts';

/** Starts a program of a tool in a sandbox. Resolves with a function that ends the program. */
export type StartWatched = (
  toolNumber: number,
  argv: readonly string[],
  onOver: (end: DiskEnd) => void,
) => Promise<() => Promise<void>>;

/**
 * Returns a function that starts programs in sandboxes that write to a disk. A disk watch calls `onOver` if a program
 * must end. Tool 3 is a preview of tool 1.
 *
 * @param bytes - The limit of the bytes of each program. 0 means no limit.
 */
export async function watchedOn(disk: string, bytes: number): Promise<StartWatched> {
  const sandbox = await sandboxIn(disk, 'isolated');
  const shareOf = (toolNumber: number) => (toolNumber === 3 ? 1 : toolNumber);
  const log = createLog('error');
  const watch = new DiskWatch({ limits: { bytes, entries: 0 }, room: new DiskRoom(disk), shareOf, log });
  const release = join(disk, 'release');
  await mkdir(release);
  await mkdir(join(disk, 'run'));
  return async (toolNumber, argv, onOver) => {
    await sandbox.own([release], toolNumber);
    const place = await makeRunFolders(join(disk, 'run'), toolNumber, { sandbox, log });
    const workspace = { source: release, target: '/workspace', isWritable: false, writesTo: place.writesTo };
    const child = startIn(sandbox, argv, {
      mounts: [workspace, ...place.mounts],
      limits: { processes: 64, memoryBytes: 256 * 1024 * 1024, fileBytes: 1024 ** 3 },
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
  };
}
