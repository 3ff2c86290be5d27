import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as otherWork } from 'node:timers/promises';
import { noneIfGone } from '../core/errors.ts';

/** A file takes whole blocks of this size on disk. */
const BLOCK_BYTES = 4096;

/** After this many files, other work of this process gets a turn. Measuring so many takes about a millisecond. */
const FILES_AT_ONCE = 250;

/**
 * Measures the folder `objects` of a repository (gitrepository-layout(5)): its packs, loose objects, and what a killed
 * git left. Does not use git-count-objects(1), because starting git blocks this process for milliseconds.
 *
 * @returns what the files take on disk, and the number of packs.
 */
export async function measureObjects(repository: string): Promise<{ bytes: number; packs: number }> {
  const size = { bytes: 0, packs: 0 };
  const folders = [join(repository, 'objects')];
  let count = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    // git may delete a folder meanwhile, for example the quarantine of a push. A deleted folder does not count.
    for (const entry of (await readdir(folder, { withFileTypes: true }).catch(noneIfGone)) ?? []) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile()) continue;
      count += 1;
      if (count % FILES_AT_ONCE === 0) await otherWork();
      const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      size.bytes += Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
      if (entry.name.endsWith('.pack')) size.packs += 1;
    }
  }
  return size;
}
