import { short } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import type { ToolCommand } from '../command.ts';
import { findDeployment } from '../find-deployment.ts';

export const cancelCommand: ToolCommand = {
  name: 'cancel',
  usage: 'TOOL [ID]',
  summary: 'end the current deployment of a tool, or the deployment ID',
  examples: ['cancel wikibot'],
  details: [
    'Without ID, ends the running deployment or, if none runs, the first one that waits.',
    'The live release stays live. To see the ids: ps TOOL, or deployments TOOL',
  ],
  action: 'deploy',
  options: {},
  words: { min: 0, max: 1 },
  async run(context) {
    const { services, tool, principal, args, out } = context;
    const id = args[0] === undefined ? null : findDeployment(context, args[0]).id;
    const cancelled = services.deployments.cancel(tool, id, principal);
    const { kind, commit, by } = cancelled;
    await out(`Cancelled deployment ${cancelled.id} (${kind} of ${short(commit)} by ${oneLine(by)}).\n`);
    return 0;
  },
};
