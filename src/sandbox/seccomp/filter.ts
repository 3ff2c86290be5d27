import { chmod, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolderForAll } from '../folder-reach.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/**
 * Copies the seccomp filter for this processor into `folder`, where the users of tools can read it.
 *
 * @returns the path of the copy, or null if there is no filter for this processor. See make-filters.py.
 */
export async function copyFilter(
  folder: string,
  architecture: string = process.arch,
): Promise<string | null> {
  const name = ARCHITECTURES[architecture];
  if (name === undefined) return null;
  await makeFolderForAll(folder);
  const path = join(folder, 'seccomp.bpf');
  await copyFile(join(import.meta.dirname, `${name}.bpf`), path);
  await chmod(path, 0o644);
  return path;
}
