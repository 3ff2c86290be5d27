import { authorize } from '../auth/authorize.ts';
import { DeployError } from '../core/errors.ts';
import { type ToolName, toolName } from '../core/names.ts';
import type { Command, CommandLine, CommandShape } from './command.ts';
import { asTyped, describeCommand, typedBefore } from './commands/help.ts';
import { findCommand, nearestNames } from './find-command.ts';
import { checkCount, parseWords, type Words } from './parse-words.ts';
import { oneLine, warning } from './printing.ts';
import { commands } from './table.ts';
import { UsageError } from './usage-error.ts';

/** The exit status of a command whose reader has left, as a shell gives it for Ctrl-C. */
const leftStatus = 130;

/**
 * Runs one command line of somebody who has logged in, whatever the door.
 *
 * @returns the exit status: 1 for what a DeployError says, 2 for a wrong command line, 130 where the
 * signal has ended it. Rejects for our own bugs alone.
 */
export async function runCommand(line: CommandLine): Promise<number> {
  const { argv, err, principal, services } = line;
  const before = typedBefore(principal, services.addresses);
  const found = findCommand(commands, argv.length === 0 ? ['help'] : argv);
  if (found === null) {
    await err(unknownCommand(argv[0] ?? '', commands));
    return 2;
  }
  try {
    return await runFound(line, found.command, { words: found.words, before });
  } catch (error) {
    if (error instanceof UsageError) {
      await err(warning(error.message, usageLine(found.command, before)));
      return 2;
    }
    if (error instanceof DeployError) {
      line.onRefusal?.(error.code);
      await err(warning(error.message, asTyped(error.hint, commands, before)));
      return 1;
    }
    if (line.signal.aborted && isAbort(error, line.signal)) return leftStatus;
    throw error;
  }
}

/** The words after a command’s name, and what is typed before it. */
interface Typed {
  readonly words: readonly string[];
  readonly before: string;
}

async function runFound(line: CommandLine, command: Command, { words, before }: Typed): Promise<number> {
  const { services, principal, input, out, signal } = line;
  const { flags, positionals } = parseWords(command, words);
  if (flags['help'] === true) {
    await out(describeCommand(command, before));
    return 0;
  }
  const context = { services, principal, flags, input, out, signal, before };
  if (command.action === null) {
    checkCount(command, positionals);
    return await command.run({ ...context, args: positionals });
  }
  const { tool, args } = toolAndArgs(command, { flags, positionals });
  await authorize(services.directory, principal, tool, command.action, signal);
  const isNoted = command.action !== 'read' || isShowingSecrets(flags);
  const note = (facts: object): void => {
    const what = command.name;
    const words = command.audited?.(args) ?? args;
    if (isNoted) services.audit({ what, who: principal, tool, facts: { words, ...facts } });
  };
  try {
    const status = await command.run({ ...context, tool, args });
    note({ status });
    return status;
  } catch (error) {
    if (error instanceof DeployError) note({ refused: error.code });
    else if (line.signal.aborted) note({ status: leftStatus });
    throw error;
  }
}

/** `config list --show-values` reads what others keep secret. */
function isShowingSecrets(flags: Words['flags']): boolean {
  return flags['show-values'] === true;
}

/** @throws UsageError */
function toolAndArgs(command: Command, { positionals }: Words): { tool: ToolName; args: readonly string[] } {
  const [first, ...args] = positionals;
  if (first === undefined) throw new UsageError(`${command.name} needs the name of a tool.`);
  const tool = toolName(first.replace(/^\//, '').replace(/\.git$/, ''));
  if (tool === null) throw new UsageError(`“${oneLine(first).slice(0, 80)}” cannot be the name of a tool.`);
  checkCount(command, args);
  return { tool, args };
}

function usageLine(command: Command, before: string): string {
  return `Usage: ${before}${command.name} ${command.usage}`.trimEnd();
}

/** The answer to a command that is not there. */
export function unknownCommand(typed: string, known: readonly CommandShape[]): string {
  const nearest = nearestNames(known, typed);
  const guess = nearest.length === 0 ? '' : ` Did you mean ${nearest.join(' or ')}?`;
  return warning(
    `There is no command “${oneLine(typed).slice(0, 80)}”.${guess}`,
    '`help` lists all commands.',
  );
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}
