import { tokenId } from '../../auth/deploy-tokens.ts';
import { normalise } from '../../auth/user-name.ts';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import type { DeployToken } from '../../core/types.ts';
import type { ToolCommand, ToolContext } from '../command.ts';
import { countOf } from '../command-line/parse-words.ts';
import { ago, columns, iso, json } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';

const DAY_MS = 24 * 3600_000;
const days = { min: 1, max: 366, byDefault: 90 };
const MAX_TOKENS = 50;

const list: ToolCommand = {
  name: 'token list',
  usage: 'TOOL [--json]',
  summary: 'list the deploy tokens of a tool, the newest first',
  examples: ['token list wikibot'],
  details: [
    'The list has the tokens of the tool, and after them those of its previews.',
    '--json prints an array of objects with: id, tool, name, scope (read or deploy), by, createdAt, expiresAt, lastUsedAt, isExpired.',
  ],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run({ services, tool, flags, typed, out }) {
    const tokens = tokensOf(services, tool);
    const isOfPreviews = tokens.some((token) => token.tool !== tool);
    if (flags['json'] === true) await out(json(tokens.map(asFields)));
    else if (tokens.length === 0)
      await out(
        `The tool ${tool} has no deploy token. To make a deploy token: ${typed(`token create ${tool} NAME`)}\n`,
      );
    else
      await out(
        columns([
          ['TOKEN', ...(isOfPreviews ? ['TOOL'] : []), 'NAME', 'MAY', 'BY', 'MADE', 'EXPIRES', 'LAST USED'],
          ...tokens.map(({ id, ...token }) => [id, ...(isOfPreviews ? [token.tool] : []), ...asCells(token)]),
        ]),
      );
    return 0;
  },
};

const create: ToolCommand = {
  name: 'token create',
  usage: 'TOOL NAME [--read] [--days N]',
  summary: 'make a deploy token: a password for machines, valid for one tool',
  examples: ['token create wikibot ci --days 30', 'token create wikibot mirror --read'],
  details: [
    'The token is shown once. It can deploy. With --read, it can clone and read, but can neither deploy nor read the output of processes. --days: how long the token is valid, 90 by default, at most 366.',
    'The token works over HTTP, with any user name, as long as you maintain the tool.',
  ],
  action: 'manage',
  options: { read: { type: 'boolean' }, days: { type: 'string' } },
  words: { min: 1, max: 1 },
  async run({ services, tool, principal, args, flags, typed, out }) {
    const name = nameOf(args[0] ?? '');
    // A token works only while its maker maintains the tool. So the operator, who maintains no tool, cannot make one. A
    // tool's own account cannot either: it always counts as a maintainer, so its token would still work after the
    // person who made the token has left.
    if (principal.isOperator || principal.onlyTool !== null) {
      throw new DeployError(
        'NO_OWNER',
        'only a maintainer of the tool, with their own key or password, can make a deploy token',
        'Ask a maintainer of the tool to make the deploy token, over SSH or HTTP.',
      );
    }
    const lifeMs = countOf(flags, 'days', days) * DAY_MS;
    if (services.tokens.list(tool).length >= MAX_TOKENS) {
      throw new DeployError(
        'TOO_MANY_TOKENS',
        `the tool ${tool} has ${MAX_TOKENS} deploy tokens, and a tool can have no more`,
        `Revoke a token that is not used: \`token list ${tool}\`, \`token revoke ${tool} NAME\``,
      );
    }
    const scope = flags['read'] === true ? 'read' : 'deploy';
    const namesakes = services.tokens.list(tool).filter((other) => other.name === name);
    const { token, secret } = services.tokens.create({ tool, name, scope, by: principal.uid, lifeMs });
    const remote = `${services.addresses.http}/${tool}.git`;
    await out(
      `${secret}\n\nThis token is shown only once. It may ${scope} ${tool} until ${dayOf(token.expiresAt)}. Use it as the password over HTTP:\n    git remote add toolforge ${remote.replace('://', `://${name}@`)}\n`,
    );
    for (const { id } of namesakes)
      await out(
        `There is an older token with the name ${name}. When you no longer use the older token, revoke it: ${typed(`token revoke ${tool} ${id}`)}\n`,
      );
    return 0;
  },
};

const revoke: ToolCommand = {
  name: 'token revoke',
  usage: 'TOOL [NAME|ID] [--all] [--by USER]',
  summary: 'end a deploy token at once',
  examples: ['token revoke wikibot ci', 'token revoke wikibot --by bob'],
  details: [
    'If several tokens have the same name, give the id. `token list TOOL` shows the ids. If a token has leaked, you can give the token itself.',
    '--by revokes the tokens that USER made. --all revokes all tokens of the tool. Both also revoke tokens of the previews of the tool.',
  ],
  action: 'manage',
  options: { all: { type: 'boolean' }, by: { type: 'string' } },
  words: { min: 0, max: 1 },
  async run({ services, tool, args, flags, out }) {
    const [named] = args;
    const by = typeof flags['by'] === 'string' ? normalise(flags['by']) : null;
    if ([named !== undefined, flags['all'] === true, by !== null].filter(Boolean).length !== 1) {
      throw new UsageError(
        'token revoke takes the name or the id of one token, a token itself, or --all, or --by USER.',
      );
    }
    const tokens = tokensOf(services, tool).filter((token) => by === null || token.by === by);
    if (by !== null && tokens.length === 0) throw noneBy(tool, by);
    const ended = named === undefined ? tokens : [meantToken(tool, tokens, tokenId(named) ?? named)];
    for (const { tool: of, id } of ended) services.tokens.revoke(of, id);
    const endedTokens = ended.map(({ name, id }) => `${name} (${id})`).join(', ');
    await out(
      ended.length === 0
        ? `The tool ${tool} has no deploy token.\n`
        : `Revoked ${endedTokens}: ${ended.length === 1 ? 'this token' : 'these tokens'} can no longer be used.\n`,
    );
    return 0;
  },
};

/** The deploy tokens of a tool and of its previews. */
export function tokensOf(
  { tokens, store }: Pick<ToolContext['services'], 'tokens' | 'store'>,
  tool: ToolName,
): DeployToken[] {
  const previews = store.previews(tool);
  return [tool, ...previews.map(({ name }) => name)].flatMap((one) => tokens.list(one));
}

/**
 * Returns the token whose id is `named`, otherwise the only token whose name is `named`. Tokens of the previews of the
 * tool count only if the tool itself has no token of this name.
 *
 * @throws DeployError `NO_TOKEN` if there is no such token; `WHICH_TOKEN` if several have this name.
 */
function meantToken(tool: ToolName, tokens: readonly DeployToken[], named: string): DeployToken {
  const byId = tokens.find(({ id }) => id === named);
  const withName = tokens.filter(({ name }) => name === named);
  const ofTool = withName.filter((token) => token.tool === tool);
  const byName = ofTool.length > 0 ? ofTool : withName;
  const [first] = byName;
  if (byId !== undefined) return byId;
  if (first !== undefined && byName.length === 1) return first;
  if (first === undefined) {
    throw new DeployError(
      'NO_TOKEN',
      `the tool ${tool} has no deploy token “${oneLine(named).slice(0, 40)}”`,
      `To list the tokens: \`token list ${tool}\``,
    );
  }
  throw new DeployError(
    'WHICH_TOKEN',
    `${byName.length} deploy tokens of the tool ${tool} have the name “${oneLine(named).slice(0, 40)}”, with the ids ${byName.map(({ id }) => id).join(', ')}`,
    `Give the id of the token: \`token revoke ${tool} ${first.id}\`. To see when each token was last used: \`token list ${tool}\``,
  );
}

function noneBy(tool: ToolName, by: string): DeployError {
  return new DeployError(
    'NO_TOKEN',
    `the tool ${tool} has no deploy token that ${oneLine(by).slice(0, 40)} made`,
    `To list the tokens and their makers: \`token list ${tool}\``,
  );
}

export const tokenCommands: readonly ToolCommand[] = [
  list,
  create,
  revoke,
  { ...list, name: 'token', usage: '[list|create|revoke] TOOL …', isAlias: true },
];

function asFields(token: DeployToken): object {
  const { id, tool, name, scope, by, createdAt, expiresAt, lastUsedAt } = token;
  const times = { createdAt: iso(createdAt), expiresAt: iso(expiresAt), lastUsedAt: iso(lastUsedAt) };
  return { id, tool, name, scope, by, ...times, isExpired: expiresAt <= Date.now() };
}

function asCells({
  name,
  scope,
  by,
  createdAt,
  expiresAt,
  lastUsedAt,
}: Omit<DeployToken, 'id' | 'tool'>): string[] {
  const now = Date.now();
  const expires = expiresAt <= now ? `expired ${dayOf(expiresAt)}` : dayOf(expiresAt);
  const used = lastUsedAt === null ? 'never' : ago(lastUsedAt, now);
  return [name, scope, by, ago(createdAt, now), expires, used];
}

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** Checks the name of a new token. @throws UsageError if the name is not allowed. */
function nameOf(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$/.test(text)) return text;
  throw new UsageError('The name of a token consists of at most 40 letters, digits, - and _.');
}
