import { parseArgs } from 'node:util';
import { type ToolName, toolName } from '../../core/names.ts';
import { oneLine } from '../../core/progress.ts';
import type { Command, CommandShape } from '../command.ts';
import { findCommand } from '../command-line/find-command.ts';
import { parseWords, placeOfTool } from '../command-line/parse-words.ts';
import { UsageError } from '../command-line/usage-error.ts';

/**
 * The options of the program `toolforge-push` itself. Servers never see them, and no command may have the same names.
 */
export const OWN_OPTIONS = {
  local: { type: 'boolean' },
  remote: { type: 'string' },
  tool: { type: 'string' },
} as const;

/** A command line, split into the options of the program itself and the words for the server (`argv`). */
export interface OwnLine {
  readonly argv: readonly string[];
  readonly isLocal: boolean;
  readonly remote: string | null;
  readonly tool: ToolName | null;
}

/**
 * Takes `--local`, `--remote` and `--tool` out of a command line. They may stand anywhere in the line, but those after
 * the tool in `run` and `exec` belong to the program that runs.
 *
 * @throws UsageError if the value of `--remote` or `--tool` is missing or wrong, or if the line has both `--local` and
 * `--remote`.
 */
export function ownLine(argv: readonly string[], known: readonly CommandShape[]): OwnLine {
  const start = placeOfTool({ options: OWN_OPTIONS }, argv);
  const before = taken(argv.slice(0, start), {});
  const found = findCommand(known, argv.slice(start));
  if (found === null) return lineOf([...before.left, ...argv.slice(start)], [before]);
  const { command, words } = found;
  const options = { ...command.options, ...OWN_OPTIONS };
  const end = command.isVerbatim === true ? placeOfTool({ options }, words) : words.length;
  const after = taken(words.slice(0, end), command.options);
  return lineOf(
    [...before.left, ...command.name.split(' '), ...after.left, ...words.slice(end)],
    [before, after],
  );
}

interface Taken {
  readonly left: readonly string[];
  readonly values: Readonly<Record<string, string | true>>;
}

function taken(words: readonly string[], options: CommandShape['options']): Taken {
  const { tokens } = parseArgs({
    args: [...words],
    options: { ...options, help: { type: 'boolean', short: 'h' }, ...OWN_OPTIONS },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values: Record<string, string | true> = {};
  const places = new Set<number>();
  for (const token of tokens) {
    if (token.kind !== 'option' || !Object.hasOwn(OWN_OPTIONS, token.name)) continue;
    values[token.name] = token.value ?? true;
    places.add(token.index);
    if (token.value !== undefined && !token.inlineValue) places.add(token.index + 1);
  }
  return { left: words.filter((_, index) => !places.has(index)), values };
}

function lineOf(argv: readonly string[], parts: readonly Taken[]): OwnLine {
  const { local, remote, tool } = Object.assign({}, ...parts.map(({ values }) => values)) as Taken['values'];
  if (remote === true || remote === '') throw new UsageError('--remote needs the name of a git remote.');
  if (local !== undefined && remote !== undefined)
    throw new UsageError('--local and --remote name different servers: use only one of the two flags.');
  const name = typeof tool === 'string' ? toolName(tool) : null;
  if (tool !== undefined && name === null)
    throw new UsageError(
      `--tool needs the name of a tool${typeof tool === 'string' ? `, and “${oneLine(tool).slice(0, 80)}” cannot be one` : ''}.`,
    );
  return { argv, isLocal: local !== undefined, remote: remote ?? null, tool: name };
}

/** The command line that `fillTool` returns. */
export interface Filled {
  readonly argv: readonly string[];
  /**
   * The first word after the name of the command, if `fillTool` has put the tool before this word although the person
   * may have meant the word itself as the tool. Null if the person cannot have meant that, or if `fillTool` has not
   * changed the line.
   */
  readonly doubtful: string | null;
}

/**
 * Fills in the tool if the command needs one and the line has none.
 *
 * A tool in the line is not replaced. In a line such as `restart web`, the first word may be the tool or what follows
 * the tool. Then the word is the tool only if it is equal to `tool`, or if `isAfterTool` of the command says
 * that the word cannot follow a tool.
 */
export function fillTool(commands: readonly Command[], argv: readonly string[], tool: ToolName): Filled {
  const found = findCommand(commands, argv);
  const unchanged = { argv, doubtful: null };
  if (found === null || !takesOneTool(found.command)) return unchanged;
  const { command, words } = found;
  const positionals = wordsOf(command, words);
  if (positionals === null) return unchanged;
  const [first] = positionals;
  const reading = readingOf(command, positionals, tool);
  if (reading === 'has a tool') return unchanged;
  return { argv: insertTool(found, tool), doubtful: reading === 'doubtful' ? (first ?? null) : null };
}

/**
 * Puts the tool of `--tool` into the line. @throws UsageError if the command is unknown, takes no tool, or takes two
 * tools.
 */
export function withTool(commands: readonly Command[], argv: readonly string[], tool: ToolName): string[] {
  const found = findCommand(commands, argv);
  if (found === null || !takesOneTool(found.command))
    throw new UsageError(
      `--tool is only for a command that takes one tool, unlike ${found?.command.name ?? 'this one'}.`,
    );
  return insertTool(found, tool);
}

function takesOneTool(command: Command): boolean {
  return command.action !== null && command.takesTwoTools !== true;
}

function insertTool(
  { command, words }: { readonly command: Command; readonly words: readonly string[] },
  tool: ToolName,
): string[] {
  const at = command.isVerbatim === true ? placeOfTool(command, words) : 0;
  return [...command.name.split(' '), ...words.slice(0, at), tool, ...words.slice(at)];
}

/**
 * The words that are not flags. Null if the line asks for help or is wrong: the server prints the help or the error.
 */
function wordsOf(command: Command, words: readonly string[]): readonly string[] | null {
  try {
    const { flags, positionals } = parseWords(command, words);
    return flags['help'] === true ? null : positionals;
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

function readingOf(
  { words: { min, max }, isAfterTool }: Command,
  positionals: readonly string[],
  tool: ToolName,
): 'has a tool' | 'lacks a tool' | 'doubtful' {
  const [first] = positionals;
  if (first === undefined) return 'lacks a tool';
  const count = positionals.length;
  const fitsWithout = count >= min && count <= max;
  const name = toolName(first.replace(/^\//, '').replace(/\.git$/, ''));
  const fitsWith = count - 1 >= min && count - 1 <= max && name !== null;
  if (!fitsWithout || name === tool) return 'has a tool';
  if (!fitsWith) return 'lacks a tool';
  if (isAfterTool === undefined) return 'doubtful';
  return isAfterTool(first) ? 'lacks a tool' : 'has a tool';
}
