import { normalise } from '../../auth/user-name.ts';
import { DeployError } from '../../core/errors.ts';
import type { ToolName } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import type { DeployToken } from '../../core/types.ts';
import type { ToolCommand } from '../command.ts';
import { countOf } from '../command-line/parse-words.ts';
import { ago, columns, iso, json } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';

const DAY_MS = 24 * 3600_000;
const days = { min: 1, max: 366, byDefault: 90 };
const MAX_TOKENS = 50;

const list: ToolCommand = {
  name: 'token list',
  usage: 'TOOL [--json]',
  summary: 'the deploy tokens of a tool, the newest first',
  details: ['--json: id, name, scope (read or deploy), by, createdAt, expiresAt, lastUsedAt, isExpired.'],
  action: 'read',
  options: { json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run({ services, tool, flags, typed, out }) {
    const tokens = services.tokens.list(tool);
    if (flags['json'] === true) await out(json(tokens.map(asFields)));
    else if (tokens.length === 0)
      await out(`${tool} has no deploy token. Make one: ${typed(`token create ${tool} NAME`)}\n`);
    else
      await out(
        columns([['TOKEN', 'NAME', 'MAY', 'BY', 'MADE', 'EXPIRES', 'LAST USED'], ...tokens.map(asRow)]),
      );
    return 0;
  },
};

const create: ToolCommand = {
  name: 'token create',
  usage: 'TOOL NAME [--read] [--days N]',
  summary: 'make a deploy token: a password for machines that opens this tool alone',
  details: [
    'The token is shown once. It can deploy. With --read it can only clone and read, but cannot read the output of processes. --days: 90 by default, at most 366.',
    'It works over HTTP, under any user name, as long as you maintain the tool.',
  ],
  action: 'manage',
  options: { read: { type: 'boolean' }, days: { type: 'string' } },
  words: { min: 1, max: 1 },
  async run({ services, tool, principal, args, flags, typed, out }) {
    const name = nameOf(args[0] ?? '');
    // Otherwise the token would outlive its maker's maintainership.
    if (principal.isOperator || principal.onlyTool !== null) {
      throw new DeployError(
        'NO_OWNER',
        'A deploy token belongs to a maintainer, who answers for what it does.',
        'Let a maintainer of the tool make it, over SSH or HTTP.',
      );
    }
    const lifeMs = countOf(flags, 'days', days) * DAY_MS;
    if (services.tokens.list(tool).length >= MAX_TOKENS) {
      throw new DeployError(
        'TOO_MANY_TOKENS',
        `${tool} has ${MAX_TOKENS} deploy tokens, the most that it can have.`,
        `Revoke one that is not used: \`token list ${tool}\`, \`token revoke ${tool} NAME\``,
      );
    }
    const scope = flags['read'] === true ? 'read' : 'deploy';
    const namesakes = services.tokens.list(tool).filter((other) => other.name === name);
    const { token, secret } = services.tokens.create({ tool, name, scope, by: principal.uid, lifeMs });
    const remote = `${services.addresses.http}/${tool}.git`;
    await out(
      `${secret}\n\nShown this once. It may ${scope} ${tool} until ${dayOf(token.expiresAt)}, as the password over HTTP:\n    git remote add toolforge ${remote.replace('://', `://${name}@`)}\n`,
    );
    for (const { id } of namesakes)
      await out(
        `There is an older token ${name}. When nothing uses it any more: ${typed(`token revoke ${tool} ${id}`)}\n`,
      );
    return 0;
  },
};

const revoke: ToolCommand = {
  name: 'token revoke',
  usage: 'TOOL [NAME|ID] [--all] [--by USER]',
  summary: 'end a deploy token at once',
  details: [
    'If several tokens have the same name, give the id. `token list TOOL` shows the ids.',
    '--by: those that USER made. All: --all.',
  ],
  action: 'manage',
  options: { all: { type: 'boolean' }, by: { type: 'string' } },
  words: { min: 0, max: 1 },
  async run({ services, tool, args, flags, out }) {
    const [named] = args;
    const by = typeof flags['by'] === 'string' ? normalise(flags['by']) : null;
    if ([named !== undefined, flags['all'] === true, by !== null].filter(Boolean).length !== 1) {
      throw new UsageError('token revoke takes the name or the id of one token, or --all, or --by USER.');
    }
    const tokens = services.tokens.list(tool).filter((token) => by === null || token.by === by);
    if (by !== null && tokens.length === 0) throw noneBy(tool, by);
    const ended = named === undefined ? tokens : [meantToken(tool, tokens, named)];
    for (const { id } of ended) services.tokens.revoke(tool, id);
    const which = ended.map(({ name, id }) => `${name} (${id})`).join(', ');
    await out(
      ended.length === 0
        ? `${tool} has no deploy token.\n`
        : `Revoked ${which}: ${ended.length === 1 ? 'it opens' : 'they open'} nothing any more.\n`,
    );
    return 0;
  },
};

/** The token with this id, or the only one with this name. @throws DeployError `NO_TOKEN`, `WHICH_TOKEN` */
function meantToken(tool: ToolName, tokens: readonly DeployToken[], named: string): DeployToken {
  const byId = tokens.find(({ id }) => id === named);
  const byName = tokens.filter(({ name }) => name === named);
  const [first] = byName;
  if (byId !== undefined) return byId;
  if (first !== undefined && byName.length === 1) return first;
  if (first === undefined) {
    throw new DeployError(
      'NO_TOKEN',
      `${tool} has no deploy token “${oneLine(named).slice(0, 40)}”.`,
      `See which there are: \`token list ${tool}\``,
    );
  }
  throw new DeployError(
    'WHICH_TOKEN',
    `${tool} has ${byName.length} deploy tokens ${named}: ${byName.map(({ id }) => id).join(', ')}.`,
    `Say which by its id, as in \`token revoke ${tool} ${first.id}\`; when each was used: \`token list ${tool}\``,
  );
}

function noneBy(tool: ToolName, by: string): DeployError {
  return new DeployError(
    'NO_TOKEN',
    `${tool} has no deploy token that ${oneLine(by).slice(0, 40)} made.`,
    `See which there are, and whose: \`token list ${tool}\``,
  );
}

export const tokenCommands: readonly ToolCommand[] = [
  list,
  create,
  revoke,
  { ...list, name: 'token', usage: '[list|create|revoke] TOOL …', isAlias: true },
];

function asFields(token: DeployToken): object {
  const { id, name, scope, by, createdAt, expiresAt, lastUsedAt } = token;
  const times = { createdAt: iso(createdAt), expiresAt: iso(expiresAt), lastUsedAt: iso(lastUsedAt) };
  return { id, name, scope, by, ...times, isExpired: expiresAt <= Date.now() };
}

function asRow({ id, name, scope, by, createdAt, expiresAt, lastUsedAt }: DeployToken): string[] {
  const now = Date.now();
  const expires = expiresAt <= now ? `expired ${dayOf(expiresAt)}` : dayOf(expiresAt);
  const used = lastUsedAt === null ? 'never' : ago(lastUsedAt, now);
  return [id, name, scope, by, ago(createdAt, now), expires, used];
}

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** @throws UsageError */
function nameOf(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$/.test(text)) return text;
  throw new UsageError('The name of a token is letters, digits, - and _, at most 40.');
}
