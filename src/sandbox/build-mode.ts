import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Artifact } from '../core/types.ts';
import { runTree, stackOf } from '../stack/stacks.ts';
import type { Sandbox } from './sandbox.ts';

/**
 * The file with this name marks an artifact that was built without isolation. Such an artifact contains real paths of
 * this machine.
 */
const MARK = 'trusted';

/** How tools run: on this machine, with or without isolation, or in a cluster. */
export type RunMode = Sandbox['mode'] | 'kubernetes';

/**
 * Records in an artifact's folder whether the artifact was built with isolation. An artifact can run only in the mode
 * in which it was built.
 */
export async function markBuiltFor(folder: string, mode: Sandbox['mode']): Promise<void> {
  if (mode === 'trusted') await writeFile(join(folder, MARK), '', { mode: 0o600, flag: 'wx', flush: true });
}

/** True if the artifact in this folder was built in this mode. */
export function isBuiltFor(folder: string, mode: Sandbox['mode']): boolean {
  return existsSync(join(folder, MARK)) === (mode === 'trusted');
}

/**
 * Returns why an artifact cannot run with the present settings of this server, or null if it can. The text continues a
 * sentence whose subject is the artifact.
 *
 * @param mode - How tools run now.
 */
export function whyUnusable(
  { kind, reference }: Pick<Artifact, 'kind' | 'reference'>,
  mode: RunMode,
): string | null {
  if (mode === 'kubernetes')
    return kind === 'image' ? null : 'was built for this server alone, and tools run in a cluster now';
  if (kind === 'image') return 'was built for a cluster, and tools run on this server now';
  if (!existsSync(join(reference, 'workspace'))) return 'has lost its files';
  const stack = stackOf(reference);
  const tree = runTree(reference);
  if (tree !== null && !existsSync(tree))
    return `was built on the stack ${stack}, which this server no longer has`;
  if (isBuiltFor(reference, mode)) return null;
  return mode === 'isolated'
    ? 'was built without isolation, and tools are isolated now'
    : 'was built with isolation, and tools are not isolated now';
}
