import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ToolName } from '../core/names.ts';
import { readRefs, refNames } from './ref-files.ts';
import type { Repositories } from './repositories.ts';

/** The parts that git wants of a repository: without one of them it finds none. */
export const PARTS = ['HEAD', 'refs', 'objects'] as const;

/** Makes the folders that a backup without empty folders, or a repair of the disk, has left out. */
export async function makeFolders(folder: string): Promise<void> {
  for (const part of ['refs', 'objects']) await mkdir(join(folder, part), { recursive: true, mode: 0o700 });
}

/**
 * Whether a repository has lost its objects: it has refs, and not one of the commits that they name. Nobody can push to
 * it, because git takes for granted that it has what its refs name.
 *
 * @param torn - Refs that cannot be read.
 */
export async function isHollow(
  repositories: Repositories,
  tool: ToolName,
  torn: readonly string[] = [],
): Promise<boolean> {
  const objects = join(repositories.folder(tool), 'objects');
  if (existsSync(join(objects, 'info/alternates'))) return false;
  const packs = await readdir(join(objects, 'pack')).catch(() => []);
  if (packs.some((name) => name.endsWith('.pack'))) return false;
  const names = await refNames(repositories, tool, ['refs/heads', 'refs/releases']);
  const whole = names.filter((name) => !torn.includes(name));
  const commits = [...(await readRefs(repositories, tool, whole)).values()];
  return commits.length > 0 && !commits.some((id) => existsSync(join(objects, id.slice(0, 2), id.slice(2))));
}
