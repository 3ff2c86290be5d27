import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { mapWithLimit } from '../core/concurrency/concurrency-limit.ts';
import type { SetAside } from '../core/disk/set-aside.ts';
import type { ToolName } from '../core/names.ts';
import { isHollow } from './hollow-repository.ts';
import { type Damaged, setTornAside } from './refs/torn-refs.ts';
import { REPOSITORIES_AT_ONCE, type Repositories } from './repositories.ts';
import { makeFolders } from './repository-layout.ts';

/**
 * Matches what a killed server or git leaves at the top of a repository: locks, folders of checkouts and temporary
 * files.
 */
const LEFTOVERS = /\.lock$|^checkout-|^(HEAD|config|packed-refs|shallow)\.(.*\.)?new$/;

/**
 * Cleans up every repository at start, before the server listens. Removes lock files, half-received objects and
 * half-made repositories of a killed server. Moves damaged ref and settings files to `setAside`, because git refuses
 * every push that brings objects to a repository with a damaged ref file. Also moves repositories that have lost
 * objects to `setAside`. `readBackReleases` must run first, because it needs the names of the damaged refs.
 *
 * @param mayBeDamaged - Which repositories to check for damaged refs and lost objects; by default all.
 * @returns what was moved.
 */
export async function cleanUpRepositories(
  repositories: Repositories,
  setAside: SetAside,
  mayBeDamaged: (tool: ToolName) => boolean = () => true,
): Promise<Damaged[]> {
  await repositories.removeHalfMade();
  const damaged = await mapWithLimit(await repositories.tools(), REPOSITORIES_AT_ONCE, async (tool) => {
    const folder = repositories.folder(tool);
    await makeFolders(folder);
    await removeLeftovers(folder, LEFTOVERS);
    if (!mayBeDamaged(tool)) return [];
    const torn = await setTornAside(repositories, tool, setAside);
    if (!(await isHollow(repositories, tool))) return torn;
    // Move the whole repository, because it has lost objects. The next push creates a new one.
    return [...torn, { tool, file: null, at: await setAside.move(folder) }];
  });
  return damaged.flat();
}

/**
 * Removes the lock files and half-received objects that a killed git process left in the tool's repository. Call this
 * only while no push to the tool is running.
 */
export async function sweepRepository(repositories: Repositories, tool: ToolName): Promise<void> {
  const letGo = await repositories.takeRefs(tool);
  try {
    await removeLeftovers(repositories.folder(tool), /^(shallow|packed-refs)\.lock$|^packed-refs\.new$/);
  } finally {
    letGo();
  }
}

/**
 * Removes the lock files of refs, half-received objects, and the files and folders at the top of the repository whose
 * names match `own`.
 */
async function removeLeftovers(folder: string, own: RegExp): Promise<void> {
  const top = (await readdir(folder)).filter((name) => own.test(name)).map((name) => join(folder, name));
  const refs = await readdir(join(folder, 'refs'), { recursive: true });
  const locks = refs.filter((name) => name.endsWith('.lock')).map((name) => join(folder, 'refs', name));
  const objects = await readdir(join(folder, 'objects'));
  const quarantines = objects.filter((name) => /^(tmp_objdir-)?incoming-|^tmp_objdir-/.test(name));
  const left = [...top, ...locks, ...quarantines.map((name) => join(folder, 'objects', name))];
  await Promise.all(left.map((path) => rm(path, { recursive: true, force: true })));
}
