import { DeployError } from '../../core/errors.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import { assertMay } from '../assert-may.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { followTicket } from '../follow-ticket.ts';

export const promoteCommand: ToolCommand = {
  name: 'promote',
  usage: 'SOURCE TARGET [--version vN] [--force]',
  summary: 'release what is live on one tool as a release of another tool',
  examples: ['promote wikibot-beta wikibot', 'promote wikibot-beta wikibot --version v41'],
  details: [
    'Builds nothing: TARGET gets the same artifact as SOURCE, with the config vars of TARGET. The commit is copied into the repository of TARGET, whose deploy branch moves to the commit.',
    'You need the right to read SOURCE and to deploy TARGET.',
    '--version: the release that you have tried. If another release is live on SOURCE by now, nothing is promoted.',
    '--force replaces a live commit of TARGET that is not in the history of the promoted commit.',
  ],
  action: 'read',
  isAudited: true,
  takesTwoTools: true,
  options: { force: { type: 'boolean' }, version: { type: 'string' } },
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, tool: source, principal, args, flags } = context;
    const target = toolName(args[0] ?? '');
    if (target === null) throw new UsageError('TARGET must be the name of a tool.');
    if (target === source) throw new UsageError('SOURCE and TARGET must be two tools.');
    await assertMay(context, target, 'deploy');
    assertLive(context, source);
    const isForced = flags['force'] === true;
    await services.room.assertRoom();
    services.audit({ what: 'promote', who: principal, tool: target, facts: { source, isForced } });
    const ticket = services.deployments.promote(source, target, isForced, principal);
    return await followTicket({ ...context, tool: target }, ticket);
  },
};

/**
 * If `--version` names a release, checks that this release is live on the source. @throws DeployError `OTHER_VERSION`
 * if it is not.
 */
function assertLive({ services, flags, typed }: ToolContext, source: ToolName): void {
  const { version } = flags;
  const { liveVersion } = services.store.tool(source);
  if (typeof version !== 'string' || version.replace(/^v/, '') === String(liveVersion)) return;
  throw new DeployError(
    'OTHER_VERSION',
    liveVersion === null
      ? `${source} has nothing live yet`
      : `v${liveVersion} is live on ${source}, not ${oneLine(version).slice(0, 20)}`,
    `To see what has changed: ${typed(`releases ${source}`)}`,
  );
}
