import { normalise } from '../../auth/user-name.ts';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { json } from '../command-line/printing.ts';
import { tokensOf } from './token.ts';

const list: ToolCommand = {
  name: 'maintainer list',
  usage: 'TOOL [--json]',
  summary: 'list the people who maintain a tool',
  examples: ['maintainer list wikibot'],
  details: [
    'Disabled users are left out, because they can do nothing to the tool.',
    '--json prints an array of objects with: name.',
  ],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run({ services, principal, tool, flags, signal, out }) {
    const found = await services.directory.findTool(tool, signal, { isFresh: true, by: principal.uid });
    const names = [...(found?.maintainers ?? [])].sort();
    if (flags['json'] === true) await out(json(names.map((name) => ({ name }))));
    else if (names.length === 0) await out(`Nobody maintains ${tool}.\n`);
    else await out(names.map((name) => `${name}\n`).join(''));
    return 0;
  },
};

const add: ToolCommand = {
  name: 'maintainer add',
  usage: 'TOOL USER',
  summary: 'let another user maintain a tool',
  examples: ['maintainer add wikibot bob'],
  details: [
    'A maintainer can do everything with the tool: deploy it, read its config vars, and add and remove maintainers.',
    'USER is the user name of somebody who has an account on this server. If the users are in LDAP, change the maintainers in LDAP.',
  ],
  action: 'manage',
  options: {},
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, tool, out } = context;
    const user = userIn(context);
    const isNew = await services.maintainers.addMaintainer(tool, user);
    await out(
      isNew ? `${user} now maintains ${tool}.\n` : `Nothing changed: ${user} maintains ${tool} already.\n`,
    );
    return 0;
  },
};

const remove: ToolCommand = {
  name: 'maintainer remove',
  usage: 'TOOL USER',
  summary: 'let a user no longer maintain a tool',
  examples: ['maintainer remove wikibot bob'],
  details: [
    'The user loses the right at once. The deploy tokens that the user made for the tool are revoked.',
    'What the user knows stays known: to be safe, make new secrets, and set them with `config set`.',
    'The last maintainer cannot be removed. If the users are in LDAP, change the maintainers in LDAP.',
  ],
  action: 'manage',
  options: {},
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, tool, out } = context;
    const user = userIn(context);
    await services.maintainers.removeMaintainer(tool, user);
    // Revoke the deploy tokens of this user. They no longer work, but would work again if the user maintained the tool
    // again.
    const theirs = tokensOf(services, tool).filter(({ by }) => by === user);
    for (const { tool: of, id } of theirs) services.tokens.revoke(of, id);
    const names = theirs.map(({ name, id }) => `${name} (${id})`).join(', ');
    await out(`${user} no longer maintains ${tool}.\n`);
    if (theirs.length > 0) await out(`Revoked the deploy tokens that ${user} made: ${names}\n`);
    return 0;
  },
};

/** Returns the user that the command line names. @throws DeployError `IS_PREVIEW` if the tool is a preview. */
function userIn({ services, tool, args }: ToolContext): string {
  const whole = services.store.previewOf(tool);
  if (whole !== null) throw isPreview(tool, whole);
  return normalise(args[0] ?? '');
}

function isPreview(preview: ToolName, tool: ToolName): DeployError {
  return new DeployError(
    'IS_PREVIEW',
    `the preview ${preview} has the maintainers of ${tool}`,
    `To change them: \`maintainer add ${tool} USER\`, \`maintainer remove ${tool} USER\``,
  );
}

export const maintainerCommands: readonly ToolCommand[] = [
  list,
  add,
  remove,
  { ...list, name: 'maintainer', usage: '[list|add|remove] TOOL …', isAlias: true },
];
