import { DeployError } from '../../../core/errors.ts';
import { outputTime } from '../../../core/fair-share/time-shares.ts';
import type { ConfigChange } from '../../../core/types.ts';
import {
  changedNames,
  changesInWords,
  MAX_CONFIG_VAR_BYTES,
} from '../../../core/variables/config-changes.ts';
import { NOTHING_OUTSIDE, type OutsideVars } from '../../../core/variables/outside-vars.ts';
import { outsideVarsOf } from '../../../deploy/release/live-release.ts';
import { assertMay } from '../../assert-may.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { assertSet, namesOf } from '../../command-line/config-names.ts';
import { listCommand } from '../../command-line/list-command.ts';
import { ago, iso, jsonItems, jsonOf, quoted, warning } from '../../command-line/printing.ts';
import { readText } from '../../command-line/read-text.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { configExport, configImport } from './config-file.ts';
import { configSharing } from './config-share.ts';
import { configure, configVarsOf, NO_RESTART, NO_RESTART_DETAIL } from './configure.ts';

const anyNumber = 1000;
/** How many changes of config vars `config history` reads from the store at a time. */
const PIECE = 20;

const list: ToolCommand = {
  name: 'config list',
  usage: 'TOOL [--show-values] [--json]',
  summary: 'list the names of the config vars',
  examples: ['config list wikibot', 'config list wikibot --show-values'],
  details: [
    '“from outside” marks a config var that the operator keeps in a file or a Secret. The server does not store it.',
    '--json prints an array of objects with: name, and value with --show-values; source of a config var from outside.',
  ],
  action: 'read',
  options: { 'show-values': { type: 'boolean' }, json: { type: 'boolean' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { tool, flags, typed, out, err } = context;
    const isShown = flags['show-values'] === true;
    if (isShown) await assertMay(context, tool, 'deploy');
    const outside = await outsideOrWarning(context);
    const all = { ...(await configVarsOf(context)), ...outside.vars };
    const vars = Object.entries(all).sort(([one], [other]) => (one < other ? -1 : 1));
    const isOutside = (name: string) => Object.hasOwn(outside.vars, name);
    if (flags['json'] === true) {
      const { source } = outside;
      const fields = vars.map(([name, value]) => ({
        ...(isShown ? { name, value } : { name }),
        ...(isOutside(name) ? { source } : {}),
      }));
      const items: string[] = [];
      for (const one of fields) items.push(await outputTime.run(tool, () => jsonItems([one])));
      await out(jsonOf(items));
    } else if (vars.length === 0) {
      await out(
        `the tool ${tool} has no config vars. To set a config var: ${typed(`config set ${tool} NAME=value`)}\n`,
      );
    } else {
      const mark = (name: string) => (isOutside(name) ? ' (from outside)' : '');
      const lines = vars.map(([name, value]) =>
        isShown ? `${name}=${shown(value)}\n` : `${name}${mark(name)}\n`,
      );
      await out(lines.join(''));
    }
    const waiting = flags['json'] === true ? null : await outputTime.run(tool, () => notYetLive(context));
    if (waiting !== null) await err(waiting);
    return 0;
  },
};

const get: ToolCommand = {
  name: 'config get',
  usage: 'TOOL NAME',
  summary: 'print the value of one config var',
  examples: ['config get wikibot API_KEY'],
  action: 'deploy',
  audited: namesOf,
  options: {},
  words: { min: 1, max: 1 },
  async run(context) {
    const name = context.args[0] ?? '';
    const { services, tool } = context;
    const outside = await outsideVarsOf(services, tool);
    const vars: Record<string, string> = { ...(await configVarsOf(context)), ...outside.vars };
    assertSet(tool, vars, [name]);
    await context.out(`${vars[name]}\n`);
    return 0;
  },
};

const set: ToolCommand = {
  name: 'config set',
  usage: 'TOOL NAME=value … [--no-restart] | TOOL NAME - [--no-restart]',
  summary: 'set config vars, and start a new release that has them',
  examples: ['config set wikibot LANGUAGE=en DEBUG=0', 'config set wikibot API_KEY -'],
  details: [
    'NAME consists of upper-case letters, digits and _.',
    'With - the value is read from standard input, so that no shell history keeps it. One newline at the end of the value is left out.',
    NO_RESTART_DETAIL,
  ],
  action: 'deploy',
  isAfterTool: (word) => /^[A-Z_]|=/.test(word),
  audited: (args) => args.map((word, index) => nameIn(word) ?? (args[index + 1] === '-' ? word : '…')),
  options: NO_RESTART,
  words: { min: 1, max: anyNumber },
  async run(context) {
    const changes = await changesOf(context);
    // `config set` checks the free disk space. `config unset` does not, because fewer config vars make a release
    // smaller.
    await context.services.room.assertRoom();
    return await configure(context, changes);
  },
};

const unset: ToolCommand = {
  name: 'config unset',
  usage: 'TOOL NAME … [--no-restart]',
  summary: 'remove config vars, and start a new release without them',
  examples: ['config unset wikibot DEBUG'],
  details: [NO_RESTART_DETAIL],
  action: 'deploy',
  isAfterTool: (word) => /^[A-Z_]/.test(word),
  audited: namesOf,
  options: NO_RESTART,
  words: { min: 1, max: anyNumber },
  async run(context) {
    const { args } = context;
    assertSet(context.tool, await configVarsOf(context), args);
    return await configure(context, Object.fromEntries(args.map((name) => [name, null])));
  },
};

const history = listCommand<ConfigChange>({
  name: 'config history',
  summary: 'list who changed which config vars, the newest first',
  examples: ['config history wikibot'],
  details: [
    '-n: how many changes, 20 by default, at most 1000.',
    '--json prints an array of objects with: version (null if the change was stored without a release), added, changed, removed, by, at.',
  ],
  one: 'change of config vars',
  none: (tool) => `no change of the config vars of ${tool} is recorded\n`,
  // A change can have 40 kB of names, so a thousand changes are read in pieces.
  *items(store, tool, limit) {
    for (let skip = 0; skip < limit; skip += PIECE) {
      const piece = store.configChanges(tool, Math.min(limit - skip, PIECE), skip);
      yield piece;
      if (piece.length < PIECE) return;
    }
  },
  heads: ['RELEASE', 'CHANGE', 'BY', 'WHEN'],
  row: ({ version, by, at, ...names }) => [
    version === null ? 'none' : `v${version}`,
    changesInWords(names) ?? '',
    by,
    ago(at, Date.now()),
  ],
  fields: (changes) => changes.map((change) => ({ ...change, at: iso(change.at) })),
});

/** The commands whose names begin with `config`. `config TOOL` means `config list TOOL`. */
export const configCommands: readonly ToolCommand[] = [
  list,
  get,
  set,
  unset,
  configImport,
  configExport,
  history,
  ...configSharing,
  {
    ...list,
    name: 'config',
    usage: '[list|get|set|unset|import|export|history|share|unshare] TOOL …',
    isAlias: true,
  },
];

/**
 * Returns the config vars from outside. If they cannot be used, prints why and returns none, so that the stored config
 * vars can still be listed.
 */
async function outsideOrWarning({ services, tool, err }: ToolContext): Promise<OutsideVars> {
  try {
    return await outsideVarsOf(services, tool);
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    await err(warning(`Config vars from outside are missing here: ${error.message}`));
    return NOTHING_OUTSIDE;
  }
}

/** The warning about config vars that differ from those of the live release. Null if none do, or if nothing is live. */
function notYetLive({ services, tool }: ToolContext): string | null {
  const { liveVersion } = services.store.tool(tool);
  const live = liveVersion === null ? null : services.store.release(tool, liveVersion);
  if (live === null) return null;
  const changes = changesInWords(changedNames(live.configVars, services.store.configVars(tool)));
  if (changes === null) return null;
  return warning(
    `${changes} since v${live.version}, but not live yet: the next push, promotion, redeploy or config command makes this live.`,
  );
}

/** A value on one line. Quoted if it has newlines or other control characters. */
function shown(value: string): string {
  return /\p{Cc}/u.test(value) ? quoted(value) : value;
}

/** The name in `NAME=value`, or null if the word has another form. */
function nameIn(word: string): string | null {
  return /^([A-Za-z0-9_]+)=/.exec(word)?.[1] ?? null;
}

/**
 * Reads the new values from the words, or from standard input.
 *
 * @throws UsageError, whose message never repeats a typed word, because the word may be a secret value.
 */
async function changesOf(context: ToolContext): Promise<Record<string, string>> {
  const { args, input } = context;
  const [name, dash] = args;
  if (args.length === 2 && dash === '-' && name !== undefined && !name.includes('=')) {
    return { [name]: await valueFrom(input) };
  }
  const changes = new Map<string, string>();
  for (const [index, word] of args.entries()) {
    const at = word.indexOf('=');
    if (at < 1) {
      throw new UsageError(
        `Word ${index + 1} after the tool is not NAME=value. If a value has spaces: ${withSpaces(context)}. Or type the two words \`NAME -\`, and give the value on standard input.`,
      );
    }
    if (changes.has(word.slice(0, at))) throw new UsageError('The name of a config var is given twice.');
    changes.set(word.slice(0, at), word.slice(at + 1));
  }
  return Object.fromEntries(changes);
}

/** How to type a value with spaces. Over SSH, the whole command is quoted once more for the person's own shell. */
function withSpaces({ principal, tool, typed }: ToolContext): string {
  return principal.door === 'ssh'
    ? typed(`"config set ${tool} NAME='two words'"`)
    : typed(`config set ${tool} NAME="two words"`);
}

async function valueFrom(input: ToolContext['input']): Promise<string> {
  // Read up to two more bytes than the value may have, because a line end after the value is removed.
  const text = await readText(input, MAX_CONFIG_VAR_BYTES + 2);
  if (text !== null) return text.replace(/\r?\n$/, '');
  throw new DeployError(
    'BAD_CONFIG_VAR',
    `the value of the config var is longer than ${MAX_CONFIG_VAR_BYTES / 1024} KiB or is not UTF-8 text`,
    'Keep a long value in a file of the tool, and encode binary data as base64.',
  );
}
