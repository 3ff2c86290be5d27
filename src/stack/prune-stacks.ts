import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from '../core/disk/remove-tree.ts';
import { noneIfGone } from '../core/errors.ts';
import { listStacks, stacksFolder, stacksInUse, treeOf, treesOf } from './stacks.ts';

/**
 * Removes the stacks on which no artifact is built. The newest stack stays, because new builds use it.
 *
 * @returns the ids of the removed stacks.
 */
export async function pruneStacks(data: string): Promise<string[]> {
  const [, ...older] = await listStacks(data);
  if (older.length === 0) return [];
  const used = await stacksInUse(data);
  const unused = older.map(({ id }) => id).filter((id) => !used.has(id));
  for (const id of unused) await removeTree(join(stacksFolder(data), id));
  return unused;
}

/**
 * Removes trees that nothing will use again: in each stack, the trees that an update has replaced, and in each stack but
 * the newest, also the tree that builds use. Call this only while no process of a tool and no build runs, because one of
 * them may still use such a tree.
 */
export async function pruneTrees(data: string): Promise<void> {
  const [newest, ...older] = await listStacks(data);
  for (const { id } of newest === undefined ? [] : [newest, ...older]) {
    const folder = join(stacksFolder(data), id);
    const present = numberOf(await readlink(treesOf(data, id)).catch(noneIfGone));
    // Remove the trees with a lower number than the trees to which the symlink of the stack points. Trees with a higher
    // number belong to an update that has not replaced this symlink yet.
    for (const name of await readdir(folder))
      if (numberOf(name) < present) await removeTree(join(folder, name));
  }
  for (const { id } of older) await removeTree(treeOf(data, id, 'build'));
}

/** The number in the name of a folder with trees: 2 for `trees-2`. NaN for other names. */
function numberOf(name: string | null): number {
  return Number(/^trees-(\d+)$/.exec(name ?? '')?.[1] ?? Number.NaN);
}
