import { authorize } from '../auth/authorize.ts';
import type { ToolName } from '../core/names.ts';
import type { Action } from '../core/types.ts';
import type { CommandContext } from './command.ts';

/**
 * Checks that the person may do the action to the tool. The operator may do everything to every tool that the store
 * has. This includes a tool that is no longer in the user directory, because somebody must be able to stop its
 * processes.
 *
 * @param isFresh - True to ask the user directory itself and not its cache.
 * @throws DeployError `NO_ACCESS` if the person does not maintain the tool, or there is no such tool; `TOOL_RENAMED` if
 * the tool has another name now; `TOOL_BUSY` if the tool is being renamed; `TOKEN_SCOPE` if the token may not do the
 * action; `TOOL_DISABLED` if the tool is disabled; `DIRECTORY_UNAVAILABLE` or `DIRECTORY_BUSY` if the user directory
 * does not answer.
 */
export async function assertMay(
  { services, principal, signal }: Pick<CommandContext, 'services' | 'principal' | 'signal'>,
  tool: ToolName,
  action: Action,
  isFresh = false,
): Promise<void> {
  const { directory, store } = services;
  if (principal.isOperator && store.recordOf(tool) !== null) return;
  await authorize(directory, principal, tool, action, signal, isFresh);
}
