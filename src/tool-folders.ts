import { join } from 'node:path';
import type { ToolName } from './core/names.ts';
import { removeTree } from './sandbox/disk/remove-tree.ts';

/** Deletes all folders of a tool in the data folder: its repository, artifacts, cache, logs, and copies of releases. */
export async function removeToolFolders(data: string, tool: ToolName): Promise<void> {
  for (const name of ['artifacts', 'cache', 'deployments', 'logs', 'releases'])
    await removeTree(join(data, name, tool));
  await removeTree(join(data, 'repositories', `${tool}.git`));
}
