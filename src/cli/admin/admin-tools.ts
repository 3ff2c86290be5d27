import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { columns, json } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { type AdminCommand, LeftUndone } from './admin-command.ts';

const add: AdminCommand = {
  name: 'tool add',
  usage: 'NAME --maintainer USER [--maintainer USER]…',
  summary: 'add a tool, or add maintainers to a tool',
  examples: ['tool add wikibot --maintainer alice --maintainer bob'],
  details: ['--maintainer may be repeated, and may have several names with commas between them.'],
  options: { maintainer: { type: 'string', multiple: true } },
  words: { min: 1, max: 1 },
  async run({ directory, args, flags, remotes, out }) {
    const given = flags['maintainer'];
    if (!Array.isArray(given)) throw new UsageError('tool add needs a maintainer.');
    const maintainers = given
      .flatMap((names) => String(names).split(','))
      .filter((name) => name.trim() !== '');
    const { tool, isNew, addedMaintainers } = await directory.addTool(args[0] ?? '', maintainers);
    const whom = addedMaintainers.join(', ');
    if (isNew) {
      await out(
        `Added ${tool}, maintained by ${whom}. To push, a maintainer first adds a remote, over SSH or HTTP:\n`,
      );
      for (const remote of remotes('USER', tool)) await out(`    git remote add toolforge ${remote}\n`);
    } else
      await out(
        whom === ''
          ? `Nothing changed: ${[...new Set(maintainers)].join(', ')} maintained ${tool} already.\n`
          : `${tool} is now maintained by ${whom} too.\n`,
      );
  },
};

const list: AdminCommand = {
  name: 'tool list',
  usage: '[--json]',
  summary: 'all tools and their maintainers',
  examples: ['tool list'],
  details: ['--json prints an array of objects with: name, maintainers, isDisabled.'],
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run({ directory, flags, out }) {
    const data = await directory.list();
    const tools = [...data.tools.values()].map(({ name, maintainers, isDisabled }) => ({
      name,
      maintainers: [...maintainers],
      isDisabled,
    }));
    const rows = tools.map(({ name, maintainers, isDisabled }) => [
      isDisabled ? `${name} (disabled)` : name,
      maintainers.join(', '),
    ]);
    await out(flags['json'] === true ? json(tools) : columns([['TOOL', 'MAINTAINERS'], ...rows]));
  },
};

const remove: AdminCommand = {
  name: 'tool remove',
  usage: 'NAME',
  summary: 'remove a tool from the user directory; its repository and releases stay',
  examples: ['tool remove wikibot'],
  details: [
    'The processes of the tool continue to run. To end them, before or after the removal: npx toolforge-push stop NAME',
    'A running server revokes the deploy tokens of the tool. If a tool of the same name is added again, its maintainers get the repository, the releases and the config vars.',
  ],
  options: {},
  words: { min: 1, max: 1 },
  async run({ directory, revokeTokens, args, out }) {
    const tool = args[0] ?? '';
    const { tools } = await directory.list();
    // Revoke the tokens before the removal. After the removal, the server knows the tool only if somebody has pushed to
    // the tool. For an unknown tool, the server refuses to revoke tokens.
    const revoked = tools.has(tool as ToolName) ? await revokeTokens(tool).catch(asRefusal) : null;
    await directory.removeTool(tool);
    const again = `npx toolforge-push token revoke ${tool} --all`;
    await out(`Removed the tool ${tool}. Nobody maintains it any more.\n`);
    if (revoked === null)
      await out(
        `No server runs, so the deploy tokens of ${tool} are not revoked yet. Start the server, then: ${again}\n`,
      );
    else if (typeof revoked === 'string') await out(revoked);
    await out(
      `The processes of ${tool} continue to run. To end them: npx toolforge-push stop ${tool}\nIf somebody is given the name ${tool} again, they get its repository, releases and config vars.\n`,
    );
    if (revoked instanceof DeployError)
      throw new LeftUndone(
        'TOKENS_LEFT',
        `the deploy tokens of ${tool} could not be revoked: ${revoked.message}`,
        `The log of the server may say why. Then revoke the tokens: ${again}`,
        { cause: revoked },
      );
  },
};

function asRefusal(error: unknown): DeployError {
  if (error instanceof DeployError) return error;
  throw error;
}

export const toolAdminCommands: readonly AdminCommand[] = [add, list, remove];
