import type { ToolCommand } from '../command.ts';
import { followTicket } from '../follow-ticket.ts';

export const redeployCommand: ToolCommand = {
  name: 'redeploy',
  usage: 'TOOL [--no-cache] [--rebase]',
  summary: 'build the live commit again and roll it out',
  examples: ['redeploy wikibot', 'redeploy wikibot --no-cache'],
  details: [
    '--no-cache builds without the cache of earlier builds.',
    '--rebase builds nothing: the live image gets the newest Debian system, with its security updates. Only in a cluster.',
  ],
  action: 'deploy',
  options: { 'no-cache': { type: 'boolean' }, rebase: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, tool, principal, flags } = context;
    const options = { useCache: flags['no-cache'] !== true, isRebase: flags['rebase'] === true };
    return await followTicket(context, services.deployments.redeploy(tool, options, principal));
  },
};
