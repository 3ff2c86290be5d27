import type { ToolCommand } from '../../command.ts';

export const stopCommand: ToolCommand = {
  name: 'stop',
  usage: 'TOOL',
  summary: 'end the processes of a tool until its next restart or release',
  examples: ['stop wikibot'],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 0 },
  async run({ services, tool, principal, typed, out }) {
    await services.deployments.stop(tool, principal);
    await out(`${tool} is stopped. Start it with: ${typed(`restart ${tool}`)}\n`);
    return 0;
  },
};
