import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Action, Principal } from '../core/types.ts';
import type { Directory, DirectoryTool } from './directory.ts';
import { toolLogin } from './user-name.ts';

/** Each includes those before it. */
const rank: readonly Action[] = ['read', 'deploy', 'manage'];

/**
 * The one decision that every door asks for: may this principal do this to this tool? Nobody is refused for what
 * a directory remembers: it is asked anew before that.
 *
 * @param isFresh - Nobody is let in either for what a directory remembers.
 * @returns the tool as the directory knows it.
 * @throws DeployError `NO_ACCESS`, the same for a tool that is not there and for one that is somebody
 * else's, or that a credential for another tool does not open; `TOKEN_SCOPE` to a deploy token that may less; `TOOL_DISABLED` to a maintainer of a disabled tool; `DIRECTORY_UNAVAILABLE`.
 */
export async function authorize(
  directory: Directory,
  principal: Principal,
  tool: ToolName,
  action: Action,
  signal: AbortSignal,
  isFresh = false,
): Promise<DirectoryTool> {
  // Before the directory is asked: the answer says nothing about the other tool.
  if (principal.onlyTool !== null && principal.onlyTool !== tool)
    throw opensAnother(principal, principal.onlyTool);
  const wish = { principal, tool, action };
  const by = principal.uid;
  const decision = decide(await directory.findTool(tool, signal, { isFresh, by }), wish);
  if (!(decision instanceof DeployError)) return decision;
  if (isFresh) throw decision;
  const again = decide(await directory.findTool(tool, signal, { isFresh: true, by }), wish);
  if (again instanceof DeployError) throw again;
  return again;
}

interface Wish {
  readonly principal: Principal;
  readonly tool: ToolName;
  readonly action: Action;
}

function opensAnother({ credential }: Principal, onlyTool: ToolName): DeployError {
  return new DeployError(
    'NO_ACCESS',
    `The ${credential} opens ${onlyTool} alone.`,
    'Check the name in the address (git remote -v), or log in with what opens the other tool.',
  );
}

/** The tool if the wish is granted, otherwise the reason for the refusal. */
function decide(found: DirectoryTool | null, { principal, tool, action }: Wish): DirectoryTool | DeployError {
  // A tool's own account opens that tool alone, and no person has such a name.
  const isItself = principal.onlyTool === tool && principal.uid === toolLogin(tool);
  const isMaintainer =
    found !== null && (principal.isOperator || isItself || found.maintainers.has(principal.uid));
  if (!isMaintainer) {
    return new DeployError(
      'NO_ACCESS',
      `There is no tool ${tool} that ${principal.uid} maintains.`,
      'Check the name in the address (git remote -v), or ask a maintainer of the tool to add you.',
    );
  }
  if (rank.indexOf(principal.scope) < rank.indexOf(action)) {
    return new DeployError(
      'TOKEN_SCOPE',
      `The ${principal.credential} may ${principal.scope} ${tool}, and this needs more.`,
      action === 'manage'
        ? 'Log in with your own key or password.'
        : `Use a token that may ${action}, or your own key or password.`,
    );
  }
  // Who else should stop what still runs of it?
  if (found.isDisabled && action !== 'read' && !principal.isOperator) {
    return new DeployError('TOOL_DISABLED', `${tool} is disabled.`, 'Ask the operators of this server why.');
  }
  return found;
}
