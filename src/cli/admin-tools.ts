import type { AdminCommand } from './admin-command.ts';
import { columns, json } from './printing.ts';
import { UsageError } from './usage-error.ts';

const add: AdminCommand = {
  name: 'tool add',
  usage: 'NAME --maintainer USER…',
  summary: 'add a tool, or give one more maintainers',
  details: ['--maintainer may be repeated, or take several names with commas between them.'],
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
      await out(`Added ${tool}, maintained by ${whom}. Whoever of them pushes:\n`);
      for (const remote of remotes('USER', tool)) await out(`    git remote add toolforge ${remote}\n`);
    } else
      await out(whom === '' ? `${tool} has them already.\n` : `${tool} is now maintained by ${whom} too.\n`);
  },
};

const list: AdminCommand = {
  name: 'tool list',
  usage: '[--json]',
  summary: 'all tools and their maintainers',
  details: ['--json: name, maintainers, isDisabled.'],
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
  summary: 'take a tool from its maintainers; its repository and releases stay',
  details: ['Stop it before that: npx toolforge-push stop NAME. To stop it later, add it again first.'],
  options: {},
  words: { min: 1, max: 1 },
  async run({ directory, args, out }) {
    await directory.removeTool(args[0] ?? '');
    await out(`Removed ${args[0]}. Its repository and releases stay, and what runs of it goes on.\n`);
  },
};

export const toolAdminCommands: readonly AdminCommand[] = [add, list, remove];
