import { DeployError } from '../../../core/errors.ts';
import { type ToolName, toolName } from '../../../core/names.ts';
import { oneLine } from '../../../core/progress.ts';
import { counted } from '../../../core/text/counted.ts';
import { higherLimits, limitsOf, type ToolLimits } from '../../../core/tool-limits.ts';
import { commandsToDeploy } from '../../../deploy/release/live-release.ts';
import type { ImportedTool } from '../../../recovery/archive/import-tool.ts';
import { assertMay } from '../../assert-may.ts';
import type { CommandContext, LoginCommand } from '../../command.ts';
import { UsageError } from '../../command-line/usage-error.ts';
import { ownLimitsInWords, wordsOfLimits } from './limit.ts';

const MAX_PASSPHRASE_BYTES = 1024;

/** The server's part of `tool export`. Reads the passphrase as the first line of its input, and prints the file. */
const exportTool: LoginCommand = {
  name: 'export-tool',
  usage: 'TOOL',
  summary: 'print everything about a tool as a file; `tool export` uses this',
  examples: ['export-tool wikibot'],
  isAlias: true,
  isForOperator: true,
  isBinary: true,
  action: null,
  options: {},
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, principal, args, input, out, signal } = context;
    const tool = nameOf(args[0] ?? '');
    await assertMay(context, tool, 'manage');
    const { line } = await lineAndRest(input);
    await services.transfers.export({ tool, passphrase: line }, out, signal);
    services.audit({ what: 'tool export', who: principal, tool, facts: {} });
    return 0;
  },
};

/** The server's part of `tool import`. Reads the passphrase as the first line of its input, and then the file. */
const importTool: LoginCommand = {
  name: 'import-tool',
  usage: '[--as NAME]',
  summary: 'take a tool from a file; `tool import` uses this',
  examples: ['import-tool --as wikibot'],
  isAlias: true,
  isForOperator: true,
  action: null,
  options: { as: { type: 'string' } },
  words: { min: 0, max: 0 },
  async run(context) {
    const { services, principal, flags, input, signal } = context;
    const as = flags['as'] === undefined ? null : nameOf(String(flags['as']));
    const { line, rest } = await lineAndRest(input);
    const imported = await services.transfers.import(
      {
        ...{ bytes: rest, passphrase: line, as, by: principal.uid },
        assertKnown: async (tool) => await assertKnown(context, tool),
      },
      signal,
    );
    const { tool, manifest } = imported;
    services.audit({
      what: 'tool import',
      who: principal,
      tool,
      facts: { from: manifest.tool, live: manifest.live },
    });
    return await deploy(context, imported);
  },
};

/** The server's part of `tool rename`. */
const renameTool: LoginCommand = {
  name: 'rename-tool',
  usage: 'OLD --to=NEW',
  summary: 'give a tool another name; `tool rename` uses this',
  examples: ['rename-tool wikibot --to=wiki-bot'],
  isAlias: true,
  isForOperator: true,
  action: null,
  options: { to: { type: 'string' } },
  words: { min: 1, max: 1 },
  async run(context) {
    const { services, principal, args, flags, out } = context;
    const [from, to] = [nameOf(args[0] ?? ''), nameOf(String(flags['to'] ?? ''))];
    await assertMay(context, from, 'manage');
    await services.renames.rename({ from, to });
    services.audit({ what: 'tool rename', who: principal, tool: to, facts: { from } });
    const address = services.runtime.address(to);
    await out(
      `${from} is now called ${to}${address === null ? '' : `, and answers at ${address}`}. Pushes to ${from} tell maintainers the new name:\n    git remote set-url toolforge ${services.addresses.ssh.replace('://', '://USER@')}/${to}.git\n`,
    );
    return 0;
  },
};

export const transferCommands: readonly LoginCommand[] = [exportTool, importTool, renameTool];

/** Tells the operator what was imported, and deploys the commit that was live on the other server. */
async function deploy(
  context: CommandContext,
  { tool, manifest, configVars, missingTags }: ImportedTool,
): Promise<number> {
  const { services, principal, out, signal } = context;
  const { releases, tags, live } = manifest;
  const came = [
    counted(releases.length, 'release'),
    counted(tags.length, 'tag'),
    counted(configVars, 'config var'),
  ];
  await out(
    `Took ${came.join(', ')} of ${manifest.tool} into ${tool}. Deploy tokens, logs and previews are not in the file.\n`,
  );
  const { limits, resets } = ownLimitsInWords(takenLimits(context, tool, manifest.limits));
  if (limits.length > 0)
    await out(
      `${tool} has the limits of the other server: ${limits.join(', ')}. To use those of this server: ${context.typed(`limit ${tool} ${resets.join(' ')}`)}\n`,
    );
  const now = limitsOf(services.limits, services.store.ownLimits(tool));
  const higher = wordsOfLimits(higherLimits(now, manifest.limits));
  if (higher.length > 0)
    await out(
      `${tool} had higher limits on the other server than it has here. To give it the higher limits: ${context.typed(`limit ${tool} ${higher.join(' ')}`)}\n`,
    );
  if (missingTags !== null)
    await out(
      missingTags === 'pushed meanwhile'
        ? 'The tags of the tool were not made, because somebody has pushed a tag of the same name meanwhile. Push the tags again.\n'
        : 'The tags of the tool were not made, because git failed; the log of the server says why. Push the tags again.\n',
    );
  const commit = releases.find(({ version }) => version === live)?.commit;
  if (live === null || commit === undefined) {
    await out(
      `Nothing of ${tool} was live on the other server, so nothing is live here. Push its branch ${services.deployBranch}.\n`,
    );
    return 0;
  }
  await out(`v${live} was live on the other server. Its commit is built again:\n`);
  const say = async (bytes: Uint8Array) => await out(bytes).catch(() => undefined);
  const reason = await services.transfers.deploy({ tool, commit, principal }, say);
  // If the tool was in maintenance on the other server, begin its maintenance here, even if the client has left. The
  // tool is live now, so visitors would otherwise reach it.
  const maintenance =
    reason === null && manifest.isInMaintenance ? await beginMaintenance(context, tool) : null;
  signal.throwIfAborted();
  if (reason !== null)
    throw new DeployError(
      'NOT_LIVE',
      `the history of ${tool} is here, but nothing of it is live: ${reason}`,
      `Repair the cause. Then a maintainer can deploy the commit of v${live}: ${commandsToDeploy(live, services.deployBranch)}`,
    );
  const notes = [
    ...(maintenance === null ? [] : [maintenance]),
    manifest.isStopped
      ? `${tool} had been stopped on the other server before it was exported, but it runs here now. To stop it: \`stop ${tool}\`\n`
      : `The processes and schedules on the other server still run. To end them there: npx toolforge-push stop ${manifest.tool}\n`,
  ];
  await out(notes.join('').replace(/`([^`]+)`/g, (_, words: string) => context.typed(words)));
  return 0;
}

/**
 * Returns those limits of the imported file that now apply to the tool. A limit is missing if it is not lower than the
 * setting of this server, or if an operator of this server had set another value for the tool before.
 */
function takenLimits({ services }: CommandContext, tool: ToolName, ofFile: Partial<ToolLimits>) {
  const own = services.store.ownLimits(tool);
  const names = (Object.keys(ofFile) as (keyof ToolLimits)[]).filter((name) => own[name] === ofFile[name]);
  return Object.fromEntries(names.map((name) => [name, own[name]]));
}

/**
 * Shows visitors the page about maintenance, as the other server did. @returns a line that says whether this worked.
 */
async function beginMaintenance({ services, principal }: CommandContext, tool: ToolName): Promise<string> {
  try {
    await services.deployments.setMaintenance(tool, true, principal);
    return `${tool} is in maintenance, as on the other server. To end this: \`maintenance off ${tool}\`\n`;
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    return `${tool} was in maintenance on the other server, but is not in maintenance here: ${error.message}.\n`;
  }
}

/** Checks that the user directory has the tool. @throws DeployError `NO_TOOL` if not. */
async function assertKnown(context: CommandContext, tool: ToolName): Promise<void> {
  const { directory } = context.services;
  if ((await directory.findTool(tool, context.signal, { isFresh: true })) !== null) return;
  throw new DeployError(
    'NO_TOOL',
    `the user directory of this server has no tool ${tool}`,
    `Nothing has changed. Add the tool with its maintainers, and import it again. If the user directory is a file: npx toolforge-push tool add ${tool} --maintainer USER`,
  );
}

/** Returns a typed word as the name of a tool. @throws UsageError if the word cannot be the name of a tool. */
function nameOf(text: string): ToolName {
  const tool = toolName(text);
  if (tool === null) throw new UsageError(`“${oneLine(text).slice(0, 80)}” cannot be the name of a tool.`);
  return tool;
}

/**
 * The first line of the input, without its newline, and the bytes after it. @throws UsageError if there is no such
 * line.
 */
async function lineAndRest(
  input: AsyncIterable<Uint8Array>,
): Promise<{ readonly line: string; readonly rest: AsyncIterable<Uint8Array> }> {
  const chunks = input[Symbol.asyncIterator]();
  let held = Buffer.alloc(0);
  for (;;) {
    const end = held.indexOf(0x0a);
    if (end >= 0 && end <= MAX_PASSPHRASE_BYTES) {
      const first = held.subarray(end + 1);
      return { line: held.toString('utf8', 0, end), rest: joined(first, chunks) };
    }
    const { value, done } = await chunks.next();
    if (done === true || held.length > MAX_PASSPHRASE_BYTES)
      throw new UsageError('The first line of the input must be a passphrase of at most 1024 bytes.');
    held = Buffer.concat([held, value]);
  }
}

async function* joined(first: Uint8Array, chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (first.length > 0) yield first;
    for (;;) {
      const { value, done } = await chunks.next();
      if (done === true) return;
      yield value;
    }
  } finally {
    await chunks.return?.();
  }
}
