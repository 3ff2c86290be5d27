import type { ToolCommand } from '../../command.ts';
import { followTicket } from '../../follow-ticket.ts';

export const restartCommand: ToolCommand = {
  name: 'restart',
  usage: 'TOOL',
  summary: 'replace the processes of a tool by new ones, without an interruption',
  details: ['Also starts a tool that was stopped.'],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, tool, principal } = context;
    return await followTicket(context, services.deployments.restart(tool, principal));
  },
};
