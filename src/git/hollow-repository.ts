import { existsSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { noneIfGone } from '../core/errors.ts';
import type { CommitId, ToolName } from '../core/names.ts';
import { readRefs, refNames } from './refs/ref-files.ts';
import type { Repositories } from './repositories.ts';

/**
 * The entries that every git repository has. git does not recognise a folder as a repository if one of these entries is
 * missing.
 */
export const PARTS = ['HEAD', 'refs', 'objects'] as const;

/**
 * Creates `refs` and `objects` in a repository if they are missing: a backup or a disk repair may have dropped empty
 * folders.
 */
export async function makeFolders(folder: string): Promise<void> {
  for (const part of ['refs', 'objects']) await mkdir(join(folder, part), { recursive: true, mode: 0o700 });
}

/**
 * True if a repository has refs, but none of the commits that these refs name. Nobody can push to such a repository,
 * because git relies on these commits.
 *
 * @param torn - The names of damaged refs, which are ignored.
 */
export async function isHollow(
  repositories: Repositories,
  tool: ToolName,
  torn: readonly string[] = [],
): Promise<boolean> {
  const folder = repositories.folder(tool);
  if (mayHave(folder, [])) return false;
  const names = await refNames(repositories, tool, ['refs/heads', 'refs/releases']);
  const whole = names.filter((name) => !torn.includes(name));
  const commits = [...(await readRefs(repositories, tool, whole)).values()];
  return commits.length > 0 && !mayHave(folder, commits);
}

/**
 * False if a repository certainly has none of these commits: no commit is a loose object, and the repository has no
 * pack.
 */
export function mayHave(folder: string, commits: readonly CommitId[]): boolean {
  const objects = join(folder, 'objects');
  return (
    existsSync(join(objects, 'info/alternates')) ||
    namesIn(join(objects, 'pack')).some((name) => name.endsWith('.pack')) ||
    commits.some((id) => existsSync(join(objects, id.slice(0, 2), id.slice(2))))
  );
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    return noneIfGone(error) ?? [];
  }
}
