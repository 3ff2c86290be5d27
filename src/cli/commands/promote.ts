import { toolName } from '../../core/names.ts';
import { assertMay } from '../assert-may.ts';
import type { ToolCommand } from '../command.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { followTicket } from '../follow-ticket.ts';

export const promoteCommand: ToolCommand = {
  name: 'promote',
  usage: 'SOURCE TARGET [--force]',
  summary: 'release what is live on one tool as a release of another tool',
  details: [
    'Builds nothing: TARGET gets the very artifact of SOURCE, with its own config vars. The commit is copied into the repository of TARGET, and its deploy branch moves to it.',
    'It needs the right to read SOURCE and to deploy TARGET.',
    '--force replaces a live commit of TARGET that is not in the history of the promoted commit.',
  ],
  action: 'read',
  isAudited: true,
  options: { force: { type: 'boolean' } },
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, tool: source, principal, args, flags } = context;
    const target = toolName(args[0] ?? '');
    if (target === null) throw new UsageError('The second word must be the name of a tool.');
    if (target === source) throw new UsageError('SOURCE and TARGET must be two tools.');
    await assertMay(context, target, 'deploy');
    await services.room.assertRoom();
    services.audit({ what: 'promote', who: principal, tool: target, facts: { source } });
    const isForced = flags['force'] === true;
    const ticket = services.deployments.promote(source, target, isForced, principal);
    return await followTicket({ ...context, tool: target }, ticket);
  },
};
