import { readdir } from 'node:fs/promises';
import { systemCode } from '../errors.ts';

/** Lists the names in a folder. The list is empty if there is no folder at this path. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** True for the error of a path that does not exist, or that has a file in the place of a folder. */
export function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '');
}
