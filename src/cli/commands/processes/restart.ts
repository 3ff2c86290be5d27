import type { ToolCommand } from '../../command.ts';
import { followTicket } from '../../follow-ticket.ts';

export const restartCommand: ToolCommand = {
  name: 'restart',
  usage: 'TOOL [TYPE]',
  summary: 'replace the processes of a tool by new ones, without an interruption',
  examples: ['restart wikibot', 'restart wikibot web'],
  details: [
    'With TYPE, such as web, restarts only the processes of this type. The new processes get new names, such as web.2.',
    'Without TYPE, also starts a tool that was stopped, and reads config vars from outside again.',
  ],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 1 },
  async run(context) {
    const { services, tool, principal, args } = context;
    return await followTicket(context, services.deployments.restart(tool, principal, args[0] ?? null));
  },
};
