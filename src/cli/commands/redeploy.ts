import type { ToolCommand } from '../command.ts';
import { followTicket } from '../follow-ticket.ts';

export const redeployCommand: ToolCommand = {
  name: 'redeploy',
  usage: 'TOOL [--no-cache]',
  summary: 'build the live commit again and roll it out',
  details: ['--no-cache builds without the cache of earlier builds.'],
  action: 'deploy',
  options: { 'no-cache': { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, tool, principal, flags } = context;
    const options = { useCache: flags['no-cache'] !== true };
    return await followTicket(context, services.deployments.redeploy(tool, options, principal));
  },
};
