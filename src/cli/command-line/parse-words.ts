import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import type { CommandShape, FlagValue } from '../command.ts';
import { UsageError } from './usage-error.ts';

/** A parsed command line. */
export interface Words {
  readonly flags: Readonly<Record<string, FlagValue>>;
  readonly positionals: readonly string[];
}

/**
 * The most words after a command. `config set` takes a thousand. Node's parseArgs takes seconds for 64 kB of words or
 * of short flags (`-abc`), because its time grows with the square of their number.
 */
const MAX_WORDS = 2000;
const MAX_FLAG_CHARACTERS = 200;

const everywhere: ParseArgsOptionsConfig = { help: { type: 'boolean', short: 'h' } };

/**
 * Parses the words after the name of a command. @throws UsageError if a flag is unknown or has a wrong value, or if
 * there are too many words.
 */
export function parseWords(command: CommandShape, words: readonly string[]): Words {
  if (command.isVerbatim === true) return parseVerbatim(command, words);
  assertShort(command, words);
  const options = { ...command.options, ...everywhere };
  try {
    const { values, positionals } = parseArgs({
      args: [...words],
      options,
      strict: true,
      allowPositionals: true,
    });
    return { flags: values as Record<string, FlagValue>, positionals };
  } catch (error) {
    throw new UsageError(explain(error, command), { cause: error });
  }
}

/** Flags whose value may be a text with spaces. */
const FREE_TEXT = ['message', 'grep'];

/**
 * Refuses more than `MAX_WORDS` words, and a word of short flags (`-abc`) of more than `MAX_FLAG_CHARACTERS`
 * characters.
 *
 * @throws UsageError in both cases.
 */
function assertShort({ name }: CommandShape, words: readonly string[]): void {
  if (words.length > MAX_WORDS) throw new UsageError(`There are too many words after ${name}.`);
  if (words.some((word) => /^-[^-]/.test(word) && word.length > MAX_FLAG_CHARACTERS))
    throw new UsageError(`${name} has no flag that is so long.`);
}

/** Parses the words of `run` or `exec`: flags only before the tool. Removes a `--` right after the tool. */
function parseVerbatim(command: CommandShape, words: readonly string[]): Words {
  const at = placeOfTool(command, words);
  const { flags } = parseWords({ ...command, isVerbatim: false }, words.slice(0, at));
  const [tool, ...rest] = words.slice(at);
  const own = rest[0] === '--' ? rest.slice(1) : rest;
  return { flags, positionals: tool === undefined ? [] : [tool, ...own] };
}

/** The index of the first word that is neither a flag nor the value of a flag. */
export function placeOfTool({ options }: Pick<CommandShape, 'options'>, words: readonly string[]): number {
  let at = 0;
  while (words[at]?.startsWith('-')) {
    const takesValue = options[words[at]?.slice(2) ?? '']?.type === 'string';
    at += takesValue && at + 1 < words.length ? 2 : 1;
  }
  return at;
}

/**
 * Says what is wrong with a flag. Takes only the name of the flag from the message of Node, because a value may be
 * secret.
 */
function explain(error: unknown, command: CommandShape): string {
  const message = error instanceof Error ? error.message : '';
  const flag = /'(--?[^'\s,=]+)/.exec(message)?.[1] ?? 'A flag';
  if (message.startsWith('Unknown option')) {
    return `${command.name} has no flag ${flag}. It knows ${knownFlags(command).join(', ')}.`;
  }
  if (message.includes('does not take an argument')) return `${flag} takes no value.`;
  return `${flag} needs a value.`;
}

/** All flags of a command, as people type them. */
function knownFlags(command: CommandShape): string[] {
  return Object.entries({ ...command.options, ...everywhere }).map(([name, { short }]) =>
    short === undefined ? `--${name}` : `-${short} or --${name}`,
  );
}

/** Checks the number of words after a command. @throws UsageError if there are too few or too many words. */
export function checkCount(command: CommandShape, args: readonly string[]): void {
  const { min, max } = command.words;
  if (args.length < min) throw new UsageError(`${command.name} needs ${missingWord(command, args.length)}.`);
  if (args.length > max) throw new UsageError(tooManyWords(command));
}

/** Says that there are too many words. If a flag takes a text, says how to write a text with spaces. */
export function tooManyWords({ name, options }: CommandShape): string {
  const hasText = FREE_TEXT.some((flag) => options[flag]?.type === 'string');
  const quotes = hasText ? ` Over SSH, a text with spaces needs two pairs of quotes: "'two words'".` : '';
  return `There are too many words after ${name}.${quotes}`;
}

/** The first word of the usage that was not given: `NAME` of `TOOL NAME [--read]` if only the tool was given. */
function missingWord({ usage }: CommandShape, given: number): string {
  const words = usage.split(' ').filter((word) => /^[A-Z]/.test(word) && word !== 'TOOL');
  return words[given] ?? 'more words than that';
}

/**
 * The value of a flag for a whole number, or `byDefault` if it was not given.
 *
 * @param typed - The flag as people type it, if that is not `--NAME`.
 * @throws UsageError if the value is not a whole number within `range`.
 */
export function countOf(
  flags: Words['flags'],
  name: string,
  range: { readonly min: number; readonly max: number; readonly byDefault: number; readonly typed?: string },
): number {
  const text = flags[name];
  if (text === undefined) return range.byDefault;
  const value = typeof text === 'string' && /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return value;
  throw new UsageError(
    `${range.typed ?? `--${name}`} must be a whole number from ${range.min} to ${range.max}.`,
  );
}
