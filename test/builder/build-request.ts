import { cp } from 'node:fs/promises';
import type { BuildRequest } from '../../src/builder/builder.ts';
import { commitId, type ToolName, toolName } from '../../src/core/names.ts';

/** A tool's name that is known to be one. */
export function tool(name: string): ToolName {
  const valid = toolName(name);
  if (valid === null) throw new Error(`${name} is no tool name`);
  return valid;
}

/** The request for build number `number` of a folder of files, or of what `source` puts in place, for the tool wikibot. */
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
