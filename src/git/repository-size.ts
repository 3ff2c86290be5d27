import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate as otherWork } from 'node:timers/promises';
import { noneIfGone } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import { refNames } from './refs/ref-files.ts';
import type { Repositories } from './repositories.ts';

/** The size of one repository. */
export interface RepositorySize {
  /** The disk space of the repository's objects, plus the most that its tags and its parked tags can take. */
  readonly bytes: number;
  readonly tags: number;
  /** The tags of atomic pushes whose deployments have not ended (`parkedFolder`). */
  readonly parked: number;
  readonly packs: number;
  /** How many files and tags were counted. To count a thousand takes 1.5 to 4 ms. */
  readonly counted: number;
}

/**
 * A file takes whole blocks of this size on disk. Each tag takes one block, and so does each folder that the name of a
 * tag makes.
 */
const BLOCK_BYTES = 4096;

/**
 * After each time that this many files have been measured, which takes about a millisecond, other work of this process
 * runs first.
 */
const FILES_AT_ONCE = 250;

/** Measures the repository of a tool. */
export async function measureRepository(repositories: Repositories, tool: ToolName): Promise<RepositorySize> {
  const [objects, refs] = await Promise.all([
    measureObjects(repositories.folder(tool)),
    refNames(repositories, tool, ['refs/tags', 'refs/parked']),
  ]);
  const tags = refs.filter((name) => name.startsWith('refs/tags/')).length;
  const parents = [...new Set(refs.map(dirname))];
  const folders = parents.reduce((sum, parent) => sum + parent.split('/').length - 2, 0);
  const bytes = objects.bytes + (refs.length + folders) * BLOCK_BYTES;
  const parked = refs.length - tags;
  return { bytes, tags, parked, packs: objects.packs, counted: objects.files + refs.length };
}

/**
 * Measures the folder `objects` of a repository (gitrepository-layout(5)): its packs, loose objects, and what a killed
 * git left. Does not use git-count-objects(1), because starting git blocks this process for milliseconds.
 *
 * @returns what the files take on disk, and the numbers of packs and files.
 */
async function measureObjects(repository: string): Promise<{ bytes: number; packs: number; files: number }> {
  const size = { bytes: 0, packs: 0, files: 0 };
  const folders = [join(repository, 'objects')];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    // Count nothing for a folder that git deletes meanwhile, for example the quarantine of a push.
    for (const entry of (await readdir(folder, { withFileTypes: true }).catch(noneIfGone)) ?? []) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile()) continue;
      size.files += 1;
      if (size.files % FILES_AT_ONCE === 0) await otherWork();
      const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      size.bytes += Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
      if (entry.name.endsWith('.pack')) size.packs += 1;
    }
  }
  return size;
}
