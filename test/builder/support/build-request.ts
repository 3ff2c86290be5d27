import { cp } from 'node:fs/promises';
import type { BuildRequest } from '../../../src/builder/builder.ts';
import { commitId, type ToolName, toolName } from '../../../src/core/names.ts';

/** Returns a name as a ToolName. @throws if no tool may have this name. */
export function tool(name: string): ToolName {
  const valid = toolName(name);
  if (valid === null) throw new Error(`${name} is no tool name`);
  return valid;
}

/** Returns a request to build wikibot. `source` is a folder to copy, or a function that writes files into a folder. */
export function buildRequest(
  number: number,
  source: string | BuildRequest['checkOut'],
  change: Partial<BuildRequest>,
): BuildRequest {
  const commit = commitId('1'.repeat(40));
  if (commit === null) throw new Error('not a commit id');
  return {
    id: `build-${number}`,
    tool: tool('wikibot'),
    toolNumber: 1,
    commit,
    configVars: {},
    useCache: true,
    checkOut:
      typeof source === 'string'
        ? (folder) => cp(source, folder, { recursive: true, verbatimSymlinks: true })
        : source,
    ...change,
  };
}
