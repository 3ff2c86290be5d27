import { DeployError } from '../../../core/errors.ts';
import { outputTime } from '../../../core/fair-share/time-shares.ts';
import { outsideVarsOf } from '../../../deploy/release/live-release.ts';
import { assertMay } from '../../assert-may.ts';
import type { ToolContext } from '../../command.ts';
import { followTicket } from '../../follow-ticket.ts';

/**
 * The flag `--no-restart` of the commands that change config vars. It stores the change without a restart of the tool.
 */
export const NO_RESTART = { 'no-restart': { type: 'boolean' } } as const;
export const NO_RESTART_DETAIL =
  '--no-restart: only stores the change. The next push, promotion, redeploy or config command makes it live, but a restart does not.';

/**
 * Reads the config vars of the tool. Reading large values blocks the server for milliseconds, so waits for the tool's
 * turn (`outputTime`) first.
 */
export async function configVarsOf({ services, tool }: ToolContext): Promise<Record<string, string>> {
  return await outputTime.run(tool, () => services.store.configVars(tool));
}

/**
 * Changes config vars, and follows the deployment that makes the change live. With `--no-restart`, only stores the
 * change. @returns the exit status.
 */
export async function configure(
  context: ToolContext,
  changes: Readonly<Record<string, string | null>>,
): Promise<number> {
  const { services, tool, principal, flags, typed, out } = context;
  await assertNotOutside(context, changes);
  const isStoredOnly = flags['no-restart'] === true;
  // Check again that the person may deploy the tool: the client may have taken long to send the values, and a preview
  // may have ended meanwhile.
  await assertMay(context, tool, 'deploy', true);
  const ticket = await outputTime.run(tool, () =>
    services.deployments.configure(tool, changes, principal, { isStoredOnly }),
  );
  if (ticket !== null) return await followTicket(context, ticket);
  const isLive = services.store.tool(tool).liveVersion !== null;
  await out(
    isLive
      ? `The change is stored. The next push, promotion, redeploy or config command makes it live, for example: ${typed(`redeploy ${tool}`)}\n`
      : `The config vars are stored. The first deployment of ${tool} will have them.\n`,
  );
  return 0;
}

/**
 * Refuses new values for config vars that come from outside, because the tool would still get the value from outside. A
 * stored config var of the same name can be unset.
 *
 * @throws DeployError `OUTSIDE_CONFIG` if a new value is for such a config var.
 */
async function assertNotOutside(
  { services, tool, typed }: ToolContext,
  changes: Readonly<Record<string, string | null>>,
): Promise<void> {
  const { source, vars } = await outsideVarsOf(services, tool);
  const names = Object.keys(vars).filter((name) => (changes[name] ?? null) !== null);
  if (names.length === 0) return;
  throw new DeployError(
    'OUTSIDE_CONFIG',
    `the value of ${names.join(', ')} comes from ${source}, so it cannot be set here`,
    `Change the value in ${source}, and then: ${typed(`restart ${tool}`)}`,
  );
}
