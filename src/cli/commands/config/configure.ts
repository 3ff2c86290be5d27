import type { ToolContext } from '../../command.ts';
import { followTicket } from '../../follow-ticket.ts';

/** The flag of the commands that change config vars. */
export const NO_RESTART = { 'no-restart': { type: 'boolean' } } as const;
export const NO_RESTART_DETAIL =
  '--no-restart: only stores the change. The next push, redeploy or config command makes it live, but a restart does not.';

/** Changes config vars, and follows the deployment that makes the change live. @returns the exit status. */
export async function configure(
  context: ToolContext,
  changes: Readonly<Record<string, string | null>>,
): Promise<number> {
  const { services, tool, principal, flags, typed, out } = context;
  const isStoredOnly = flags['no-restart'] === true;
  const ticket = services.deployments.configure(tool, changes, principal, { isStoredOnly });
  if (ticket !== null) return await followTicket(context, ticket);
  const isLive = services.store.tool(tool).liveVersion !== null;
  await out(
    isLive
      ? `The change is stored. The next deployment of ${tool} will have it, for example: ${typed(`redeploy ${tool}`)}\n`
      : `The config vars are stored. The first deployment of ${tool} will have them.\n`,
  );
  return 0;
}
