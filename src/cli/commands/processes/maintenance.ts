import type { ToolCommand } from '../../command.ts';

export const maintenanceCommands: readonly ToolCommand[] = [
  {
    name: 'maintenance on',
    usage: 'TOOL',
    summary: 'show visitors a page about maintenance, while the processes go on',
    examples: ['maintenance on wikibot'],
    details: [
      'Visitors get status 503 and the file maintenance.html of the live release, at its top or in public, or else a plain page.',
      'Visitors get no other file, so the page must contain its images and styles. Health checks still reach the tool. The mode lasts over deployments and restarts.',
    ],
    action: 'deploy',
    options: {},
    words: { min: 0, max: 0 },
    async run({ services, tool, principal, typed, out }) {
      const hasOwnPage = await services.deployments.setMaintenance(tool, true, principal);
      const page = hasOwnPage ? 'its own maintenance.html' : 'a plain page';
      await out(`Visitors of ${tool} get ${page} now. End this with: ${typed(`maintenance off ${tool}`)}\n`);
      return 0;
    },
  },
  {
    name: 'maintenance off',
    usage: 'TOOL',
    summary: 'show visitors the tool again',
    examples: ['maintenance off wikibot'],
    action: 'deploy',
    options: {},
    words: { min: 0, max: 0 },
    async run({ services, tool, principal, typed, out }) {
      const { isInMaintenance: wasOn, isStopped } = services.store.tool(tool);
      await services.deployments.setMaintenance(tool, false, principal);
      if (isStopped) await out(`The tool ${tool} is stopped. Start it with: ${typed(`restart ${tool}`)}\n`);
      else if (!wasOn) await out(`The tool ${tool} was not in maintenance.\n`);
      else await out(`Visitors of ${tool} get the tool again.\n`);
      return 0;
    },
  },
];
