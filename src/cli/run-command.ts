import { untilAborted } from '../core/concurrency/until-aborted.ts';
import { DeployError } from '../core/errors.ts';
import { withoutToken } from '../core/masking/without-token.ts';
import { type ToolName, toolName } from '../core/names.ts';
import { oneLine } from '../core/progress.ts';
import { nearest } from '../core/text/nearest-names.ts';
import { sentence } from '../core/text/sentence.ts';
import { assertMay } from './assert-may.ts';
import type { Command, CommandLine, CommandShape, Typed } from './command.ts';
import { findCommand } from './command-line/find-command.ts';
import { checkCount, parseWords, type Words } from './command-line/parse-words.ts';
import { warning } from './command-line/printing.ts';
import { UsageError } from './command-line/usage-error.ts';
import { commands, commandsFor } from './command-table.ts';
import { asTyped, describeCommand, typedAt } from './commands/help.ts';
import { whileAllowed } from './while-allowed.ts';

/** The exit status if the client has left. A shell reports this status for Ctrl-C. */
const leftStatus = 130;
/** The audit log keeps at most this many characters of a command's words, because a command may have 64 kB. */
const MAX_NOTED_CHARACTERS = 2000;

/**
 * Runs a command line of a person who has logged in, over SSH, HTTP or the local socket.
 *
 * @returns the exit status: 1 after a DeployError, 2 for a wrong command line, 130 if the client has left,
 * otherwise that of the command. Rejects only for bugs of this server.
 */
export async function runCommand(line: CommandLine): Promise<number> {
  const { argv, principal, services } = line;
  // Remove tokens, because a warning may repeat a word of the command, and somebody may have pasted a token there.
  const warn = async (text: string): Promise<void> => await line.err(withoutToken(text));
  const typed = typedAt(principal, services.addresses);
  const known = commandsFor(principal);
  const found = findCommand(known, argv.length === 0 ? ['help'] : argv);
  if (found === null) {
    const others = findCommand(commands, argv)?.command;
    await warn(others === undefined ? unknownCommand(argv[0] ?? '', known) : operatorsCommand(others));
    return 2;
  }
  try {
    return await runFound(line, found.command, { words: found.words, typed });
  } catch (error) {
    if (error instanceof UsageError) {
      await warn(warning(error.message, usageLine(found.command, typed)));
      return 2;
    }
    if (error instanceof DeployError) {
      line.onRefusal?.(error.code, error.message);
      await warn(warning(sentence(error.message), asTyped(error.hint, commands, typed)));
      return 1;
    }
    if (line.signal.aborted && isAbort(error, line.signal)) return leftStatus;
    throw error;
  }
}

/**
 * `words` are the words after the name of the command. `typed` gets the words of any command, and returns the line that
 * this person has to type to run that command.
 */
interface Rest {
  readonly words: readonly string[];
  readonly typed: Typed;
}

async function runFound(line: CommandLine, command: Command, { words, typed }: Rest): Promise<number> {
  const { services, principal, input, out, err, signal } = line;
  if (command.isAlias === true) assertNoMember(command, words);
  const { flags, positionals } = parseWords(command, words);
  if (flags['help'] === true) {
    await out(describeCommand(command, typed));
    return 0;
  }
  const terminal = line.terminal ?? null;
  const context = { services, principal, flags, input, out, err, terminal, signal, typed };
  if (command.action === null) {
    checkCount(command, positionals);
    return await command.run({ ...context, args: positionals });
  }
  const { tool, args } = toolAndArgs(command, { flags, positionals });
  const action = command.actionOf?.(args) ?? command.action;
  await assertMay(context, tool, action);
  const isNoted = action !== 'read' || command.isAudited === true || isShowingSecrets(flags);
  const note = (facts: object): void => {
    const what = command.name;
    const words = command.audited?.(args, flags) ?? args;
    if (isNoted) services.audit({ what, who: principal, tool, facts: { ...notedWords(words), ...facts } });
  };
  try {
    const status = await whileAllowed(context, { tool, action }, (still) =>
      command.run({ ...context, tool, args, signal: still, input: inputUntil(input, still) }),
    );
    note({ status });
    return status;
  } catch (error) {
    if (error instanceof DeployError) note({ refused: error.code });
    else if (line.signal.aborted) note({ status: leftStatus });
    throw error;
  }
}

/**
 * Yields the input of a command. Throws when the signal fires, for example because the person has lost the right to use
 * the command. If the input only ended then, the command would use it as if it were complete.
 */
async function* inputUntil(
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const chunks = input[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await untilAborted(chunks.next(), signal);
      signal.throwIfAborted();
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    const ended = chunks.return?.();
    // If the signal has fired, do not wait for `return`, because `return` waits for the next chunk, which may never
    // come.
    if (signal.aborted) ended?.catch(() => undefined);
    else await ended;
  }
}

/** The words for the audit log. `more` counts the words that are left out because the command is too long. */
function notedWords(words: readonly string[]): { words: readonly string[]; more?: number } {
  let left = MAX_NOTED_CHARACTERS;
  const end = words.findIndex((word, index) => {
    left -= word.length;
    return left < 0 && index > 0;
  });
  return end < 0 ? { words } : { words: words.slice(0, end), more: words.length - end };
}

/**
 * True for `config list --show-values`. The audit log keeps this command although the command changes nothing, because
 * it shows secrets.
 */
function isShowingSecrets(flags: Words['flags']): boolean {
  return flags['show-values'] === true;
}

/**
 * Returns the tool, which is the first word, and the words after it. @throws UsageError if the first word cannot be the
 * name of a tool.
 */
function toolAndArgs(command: Command, { positionals }: Words): { tool: ToolName; args: readonly string[] } {
  const [first, ...args] = positionals;
  if (first === undefined) throw new UsageError(`${command.name} needs the name of a tool.`);
  const tool = toolName(first.replace(/^\//, '').replace(/\.git$/, ''));
  // If the person forgot the tool, the first word may be NAME=value, so its value is hidden.
  const word = oneLine(first.replace(/=.*/s, '=…')).slice(0, 80);
  if (tool === null) throw new UsageError(`“${word}” cannot be the name of a tool.`);
  checkCount(command, args);
  return { tool, args };
}

function usageLine({ name, usage }: Command, typed: Typed): string {
  return `Usage: ${typed(`${name} ${usage}`.trimEnd())}`;
}

/**
 * Refuses a line such as `config TOOL WORD`, because there is no command `config TOOL`. @throws UsageError for such a
 * line.
 */
function assertNoMember({ name }: Command, words: readonly string[]): void {
  const [member = '', ...more] = words.filter((word) => !word.startsWith('-'));
  if (more.length === 0) return;
  const members = commands.filter((other) => other.name.startsWith(`${name} `)).map((other) => other.name);
  const typed = oneLine(member).slice(0, 40);
  throw new UsageError(`There is no command “${name} ${typed}”. There are: ${members.join(', ')}.`);
}

/** The warning about an unknown command, with the names of similar commands. */
export function unknownCommand(typed: string, known: readonly CommandShape[]): string {
  const names = nearest(
    known.map(({ name }) => name),
    typed,
  );
  const guess = names.length === 0 ? '' : ` Did you mean ${names.join(' or ')}?`;
  return warning(
    `There is no command “${oneLine(typed).slice(0, 80)}”.${guess}`,
    '`help` lists all commands.',
  );
}

/** The warning for a maintainer who types a command of the operator. */
function operatorsCommand({ name }: CommandShape): string {
  return warning(
    `There is no command “${name}” for maintainers: only the operator of this server has it.`,
    'Ask the operator. `help` lists your commands.',
  );
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}
