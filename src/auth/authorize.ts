import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Action, Principal } from '../core/types.ts';
import type { Directory, DirectoryTool } from './directory.ts';

/**
 * The one decision that every door asks for: may this principal do this to this tool?
 *
 * @returns the tool as the directory knows it.
 * @throws DeployError `NO_ACCESS`, the same for a tool that is not there and for one that is somebody
 * else's; `TOOL_DISABLED` to a maintainer of a disabled tool; `DIRECTORY_UNAVAILABLE`.
 */
export async function authorize(
  directory: Directory,
  principal: Principal,
  tool: ToolName,
  action: Action,
  signal: AbortSignal,
): Promise<DirectoryTool> {
  const found = await directory.findTool(tool, signal);
  const isMaintainer =
    found !== null &&
    (principal.isOperator ||
      (found.maintainers.has(principal.uid) && (principal.onlyTool === null || principal.onlyTool === tool)));
  if (!isMaintainer) {
    throw new DeployError(
      'NO_ACCESS',
      `There is no tool ${tool} that ${principal.uid} maintains.`,
      'Check the name in the address (git remote -v), or ask a maintainer of the tool to add you.',
    );
  }
  if (found.isDisabled && action === 'deploy') {
    throw new DeployError('TOOL_DISABLED', `${tool} is disabled.`, 'Ask the operators of this server why.');
  }
  return found;
}
