import { untilAborted } from '../core/concurrency/until-aborted.ts';
import { DeployError } from '../core/errors.ts';
import type { Ticket } from '../deploy/deployments.ts';
import type { ToolContext } from './command.ts';

export const ONLY_THE_RESULT =
  'Too many logs are followed at the moment, so only the result is shown here.\n';

/**
 * Prints the log of a deployment until the deployment ends. If too many logs are followed already, prints a note
 * instead and only waits. If the reader leaves earlier, the deployment continues.
 *
 * @returns 0, if the deployment went live.
 * @throws DeployError `NOT_LIVE` with the reason if it did not go live; `FOLLOWER_STALLED` if the reader takes no
 * output; the signal's reason if the signal fires.
 */
export async function followTicket(context: ToolContext, ticket: Ticket): Promise<number> {
  const { services, principal, tool, out, signal } = context;
  {
    using place = services.followers.enterIfFree(principal, tool);
    if (place === null) await out(ONLY_THE_RESULT);
    else {
      const texts = services.deployments.follow(ticket.id, { isColoured: false, signal });
      for await (const text of texts) await place.write(out(text));
    }
  }
  const verdict = await untilAborted(ticket.verdict, signal);
  if (verdict.isLive) return 0;
  throw new DeployError(
    'NOT_LIVE',
    verdict.reason,
    `To see the log of this deployment again: \`logs ${tool} --build ${ticket.id}\``,
  );
}
