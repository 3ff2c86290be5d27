import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Repositories } from './repositories.ts';

/** The space that one tag takes on disk: even a short file fills a whole block. */
const REF_BYTES = 4096;

/**
 * Returns how many bytes a repository takes on disk: its packed and loose objects (git-count-objects(1)), and its tags.
 */
export async function repositoryBytes(repositories: Repositories, tool: ToolName): Promise<number> {
  const [text, tags] = await Promise.all([
    repositories.git(tool, ['count-objects', '-v']),
    countFiles(join(repositories.folder(tool), 'refs/tags')),
  ]);
  const kibibytes = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const objects = (kibibytes('size') + kibibytes('size-pack') + kibibytes('size-garbage')) * 1024;
  return objects + tags * REF_BYTES;
}

async function countFiles(folder: string): Promise<number> {
  let count = 0;
  try {
    for await (const _ of await opendir(folder, { recursive: true, bufferSize: 256 })) count += 1;
  } catch (error) {
    // The folder does not exist yet, or an entry was deleted meanwhile.
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  return count;
}
