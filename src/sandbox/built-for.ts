import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Artifact } from '../core/types.ts';
import type { Sandbox } from './sandbox.ts';

/** In an artifact's folder: it holds real paths of this machine. An artifact without it has those of isolation. */
const MARK = 'trusted';

/** Notes in an artifact's folder how it was built: it runs in no other way. */
export async function markBuiltFor(folder: string, mode: Sandbox['mode']): Promise<void> {
  if (mode === 'trusted') await writeFile(join(folder, MARK), '', { mode: 0o600, flag: 'wx', flush: true });
}

/** Whether what is in an artifact's folder was built in this way. */
export function isBuiltFor(folder: string, mode: Sandbox['mode']): boolean {
  return existsSync(join(folder, MARK)) === (mode === 'trusted');
}

/**
 * Why what was built earlier cannot run on this machine as it is set up now, as the rest of a sentence about it; null
 * = it can.
 */
export function whyUnusable(
  { kind, reference }: Pick<Artifact, 'kind' | 'reference'>,
  mode: Sandbox['mode'],
): string | null {
  if (kind === 'image') return 'was built for a cluster, and tools run on this server now';
  if (!existsSync(join(reference, 'workspace'))) return 'has lost what its build made';
  if (isBuiltFor(reference, mode)) return null;
  return mode === 'isolated'
    ? 'was built without isolation, and tools are isolated now'
    : 'was built with isolation, and tools are not isolated now';
}
