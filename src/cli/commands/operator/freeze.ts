import { DeployError } from '../../../core/errors.ts';
import { type ToolName, toolName } from '../../../core/names.ts';
import { oneLine } from '../../../core/progress.ts';
import { assertMay } from '../../assert-may.ts';
import type { CommandContext, LoginCommand } from '../../command.ts';
import { UsageError } from '../../command-line/usage-error.ts';

const MAX_REASON = 200;

const freeze: LoginCommand = {
  name: 'freeze',
  usage: '[TOOL] [--all] REASON',
  summary: 'refuse pushes and other deployments of a tool, and tell people why',
  examples: ['freeze wikibot moving the database until 17:00 UTC', 'freeze --all maintenance of the disks'],
  details: [
    'Refuses pushes, rollbacks, promotions, redeploys and changes of config vars. What is live keeps running, and `logs`, `ps`, `restart`, `scale` and `stop` still work.',
    'The freeze does not change a deployment that already runs. Deployments that wait in the line are refused, except `scale` and `restart`.',
    `REASON is one line of at most ${MAX_REASON} characters. Everybody who is refused sees it. --all freezes all tools, also tools that are added later.`,
  ],
  isForOperator: true,
  action: null,
  options: { all: { type: 'boolean' } },
  words: { min: 1, max: 500 },
  async run(context) {
    const { services, out, typed } = context;
    const { tool, rest } = await toolOrAll(context);
    const reason = oneLine(rest.join(' ')).trim();
    if (reason === '') throw new UsageError('freeze needs a REASON. Everybody who is refused sees it.');
    if (reason.length > MAX_REASON)
      throw new UsageError(
        `The REASON has ${reason.length} characters, but at most ${MAX_REASON} are allowed.`,
      );
    services.store.freeze(tool, reason, Date.now());
    note(context, 'freeze', { tool, reason });
    const again = typed(`unfreeze ${tool ?? '--all'}`);
    await out(`${words(tool)} frozen: ${reason}\nTo end the freeze: ${again}\n`);
    return 0;
  },
};

const unfreeze: LoginCommand = {
  name: 'unfreeze',
  usage: '[TOOL] [--all]',
  summary: 'end the freeze of a tool, or the freeze of all tools',
  examples: ['unfreeze wikibot', 'unfreeze --all'],
  details: ['--all ends the freeze of all tools. A tool that is frozen by its own name stays frozen.'],
  isForOperator: true,
  action: null,
  options: { all: { type: 'boolean' } },
  words: { min: 0, max: 1 },
  async run(context) {
    const { services, out, typed } = context;
    const { tool, rest } = await toolOrAll(context);
    if (rest.length > 0) throw new UsageError('unfreeze takes a tool or --all, not both.');
    if (!services.store.unfreeze(tool)) {
      const left = tool === null ? null : services.store.freezeOf(tool);
      throw new DeployError(
        'NOT_FROZEN',
        tool === null ? 'there is no freeze of all tools' : `the tool ${tool} has no freeze of its own`,
        left === null ? 'Nothing has changed.' : `All tools are frozen: ${typed('unfreeze --all')}`,
      );
    }
    note(context, 'unfreeze', { tool });
    const left = tool === null ? null : services.store.freezeOf(tool);
    await out(
      left === null
        ? `${words(tool)} no longer frozen.\n`
        : `${tool} has no freeze of its own any more, but all tools are frozen: ${left.reason}\nTo end that freeze: ${typed('unfreeze --all')}\n`,
    );
    return 0;
  },
};

export const freezeCommands: readonly LoginCommand[] = [freeze, unfreeze];

/**
 * The tool of the command line (null for `--all`), and the words after the tool. @throws UsageError if the line has
 * neither a tool nor `--all`, or if the name of the tool is not valid; DeployError if the person may not manage the
 * tool.
 */
async function toolOrAll(
  context: CommandContext,
): Promise<{ readonly tool: ToolName | null; readonly rest: readonly string[] }> {
  const { args, flags } = context;
  if (flags['all'] === true) return { tool: null, rest: args };
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError('Give the name of a tool, or --all.');
  const tool = toolName(name);
  if (tool === null) throw new UsageError(`“${oneLine(name).slice(0, 80)}” cannot be the name of a tool.`);
  await assertMay(context, tool, 'manage');
  return { tool, rest };
}

function note(
  { services, principal }: CommandContext,
  what: string,
  { tool, ...facts }: { readonly tool: ToolName | null; readonly reason?: string },
): void {
  services.audit({ what, who: principal, tool, facts: { ...facts, ofAll: tool === null } });
}

function words(tool: ToolName | null): string {
  return tool === null ? 'All tools are' : `${tool} is`;
}
