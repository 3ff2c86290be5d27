import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as otherWork } from 'node:timers/promises';
import { noneIfGone } from '../core/errors.ts';

/** A file takes whole blocks of this size on disk. */
const BLOCK_BYTES = 4096;

/** How many files are measured before other work of this process goes on. This takes about a millisecond. */
const FILES_AT_ONCE = 250;

/** What the objects of a repository take on disk. */
export interface ObjectFiles {
  readonly bytes: number;
  readonly packs: number;
}

/**
 * Measures the folder `objects` of a repository (gitrepository-layout(5)): its packs, loose objects, and what a killed
 * git left. Does not start git, as git-count-objects(1) would, because that blocks this process for milliseconds.
 */
export async function measureObjects(repository: string): Promise<ObjectFiles> {
  const objects = join(repository, 'objects');
  const entries = (await readdir(objects, { recursive: true, withFileTypes: true }).catch(noneIfGone)) ?? [];
  const files = entries.filter((entry) => entry.isFile());
  let bytes = 0;
  for (const [index, { parentPath, name }] of files.entries()) {
    if (index > 0 && index % FILES_AT_ONCE === 0) await otherWork();
    const size = statSync(join(parentPath, name), { throwIfNoEntry: false })?.size ?? 0;
    bytes += Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return { bytes, packs: files.filter(({ name }) => name.endsWith('.pack')).length };
}
