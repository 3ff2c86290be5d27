import { authorize } from '../auth/authorize.ts';
import type { ToolName } from '../core/names.ts';
import type { Action } from '../core/types.ts';
import type { CommandContext } from './command.ts';

/**
 * The decision of `authorize`. The operator may act on every tool that was ever used here, also on one that the
 * directory does not know any more: what runs of it must be stoppable.
 *
 * @throws DeployError, as `authorize`.
 */
export async function assertMay(
  { services, principal, signal }: Pick<CommandContext, 'services' | 'principal' | 'signal'>,
  tool: ToolName,
  action: Action,
): Promise<void> {
  const { directory, store } = services;
  if (principal.isOperator && store.tools().some(({ name }) => name === tool)) return;
  await authorize(directory, principal, tool, action, signal);
}
