import { previewName } from '../../../core/preview-names.ts';
import type { ToolCommand } from '../../command.ts';
import { previewsOf } from '../previews-command.ts';

export const stopCommand: ToolCommand = {
  name: 'stop',
  usage: 'TOOL',
  summary: 'end the processes of a tool until its next restart or release',
  examples: ['stop wikibot'],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, tool, principal, typed, out } = context;
    await services.deployments.stop(tool, principal);
    await out(`${tool} is stopped. Start it with: ${typed(`restart ${tool}`)}\n`);
    const running = previewsOf(context).filter(
      ({ name, liveVersion }) => liveVersion !== null && !services.store.tool(name).isStopped,
    );
    const names = running.map(({ name }) => previewName(name)).join(', ');
    if (names !== '')
      await out(`Its previews still run: ${names}. To end one: ${typed(`previews end ${tool} NAME`)}\n`);
    return 0;
  },
};
