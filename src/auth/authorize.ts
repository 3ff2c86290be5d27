import { DeployError } from '../core/errors.ts';
import type { ToolName } from '../core/names.ts';
import type { Action, Principal } from '../core/types.ts';
import type { Directory, DirectoryTool } from './directory.ts';
import { toolLogin } from './user-name.ts';

/** The actions in order: a right to one of them includes the actions before it. */
const rank: readonly Action[] = ['read', 'deploy', 'manage'];

/**
 * Decides whether the principal may do the action to the tool. SSH, HTTP and the local socket all ask here. If the
 * cached answer of the user directory would refuse the action, asks the directory again without its cache, so that an
 * old answer never refuses anybody.
 *
 * @param isFresh - True to check a person who already uses the right, for example in an open shell. The cache is then
 * not used, because an old answer may still allow what the directory now refuses. This question waits only for other
 * such checks of the same person.
 * @returns the tool as the directory knows it. The maintainers of a tool have the same rights to its previews.
 * @throws DeployError `NO_ACCESS` if there is no such tool, or if the principal neither maintains it nor is an
 * operator, with the same message for both. Also `NO_ACCESS` if the credential is only for another tool. `TOOL_RENAMED`
 * if the principal maintains the tool under another name now; `TOOL_BUSY` if it is being renamed. `TOKEN_SCOPE` if the
 * deploy token does not allow the action. `TOOL_DISABLED` if the tool is disabled, the action is not `read`, and the
 * principal is no operator. `DIRECTORY_UNAVAILABLE` or `DIRECTORY_BUSY` if the directory gives no answer.
 */
export async function authorize(
  directory: Directory,
  principal: Principal,
  tool: ToolName,
  action: Action,
  signal: AbortSignal,
  isFresh = false,
): Promise<DirectoryTool> {
  // First refuse a credential that is only for another tool, without asking the user directory. So this refusal does
  // not reveal whether `tool` exists.
  const { onlyTool } = principal;
  if (onlyTool !== null && onlyTool !== tool && !tool.endsWith(`--${onlyTool}`))
    throw opensAnother(principal, onlyTool);
  const wish = { principal, tool, action };
  const by = principal.uid;
  const options = { isFresh, by, isWatch: isFresh };
  const decision = decide(await directory.findTool(tool, signal, options), wish);
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
    `the ${credential} is only for the tool ${onlyTool}`,
    'Check the name in the address (git remote -v), or log in with a key, password or token of the other tool.',
  );
}

/** Returns the tool if the principal may do the action, otherwise the error that refuses it. */
function decide(found: DirectoryTool | null, { principal, tool, action }: Wish): DirectoryTool | DeployError {
  const { onlyTool } = principal;
  // A credential that is only for one tool also opens the previews of this tool. So for a preview, `whole` is the tool
  // that the preview belongs to.
  const whole = found?.previewOf ?? tool;
  if (onlyTool !== null && onlyTool !== tool && onlyTool !== whole) return opensAnother(principal, onlyTool);
  // True if the principal is the tool's own account, such as `tools.hello`. No person can have that user name.
  const isItself = onlyTool === whole && principal.uid === toolLogin(whole);
  const isMaintainer =
    found !== null && (principal.isOperator || isItself || found.maintainers.has(principal.uid));
  if (!isMaintainer) {
    return new DeployError(
      'NO_ACCESS',
      `there is no tool ${tool} that ${principal.uid} maintains`,
      'Check the name in the address (git remote -v), or ask a maintainer of the tool to add you.',
    );
  }
  if (rank.indexOf(principal.scope) < rank.indexOf(action)) {
    return new DeployError(
      'TOKEN_SCOPE',
      `the ${principal.credential} may only ${principal.scope} ${tool}, but this request needs the right to ${action}`,
      action === 'manage'
        ? 'Log in with your own key or password.'
        : `Log in with a token that may ${action}, or with your own key or password.`,
    );
  }
  // Let operators use a disabled tool, because somebody must be able to stop it if it still runs.
  if (found.isDisabled && action !== 'read' && !principal.isOperator) {
    return new DeployError(
      'TOOL_DISABLED',
      `the tool ${tool} is disabled`,
      'Ask the operators of this server why the tool is disabled.',
    );
  }
  return found;
}
