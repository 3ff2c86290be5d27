import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import type { CommandShape, FlagValue } from './command.ts';
import { UsageError } from './usage-error.ts';

/** A command line taken apart. */
export interface Words {
  readonly flags: Readonly<Record<string, FlagValue>>;
  readonly positionals: readonly string[];
}

const everywhere: ParseArgsOptionsConfig = { help: { type: 'boolean', short: 'h' } };

/** Takes the words after a command's name apart. @throws UsageError */
export function parseWords(command: CommandShape, words: readonly string[]): Words {
  if (command.isVerbatim === true) return parseVerbatim(command, words);
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

/** Flags stand before the tool; what follows it belongs to the command, but for a `--` right behind the tool. */
function parseVerbatim(command: CommandShape, words: readonly string[]): Words {
  const found = words.findIndex((word) => !word.startsWith('-'));
  const at = found < 0 ? words.length : found;
  const { flags } = parseWords({ ...command, isVerbatim: false }, words.slice(0, at));
  const [tool, ...rest] = words.slice(at);
  const own = rest[0] === '--' ? rest.slice(1) : rest;
  return { flags, positionals: tool === undefined ? [] : [tool, ...own] };
}

/** Says what is wrong with a flag, by Node's message, which holds names of flags and no values. */
function explain(error: unknown, command: CommandShape): string {
  const message = error instanceof Error ? error.message : '';
  const flag = /'(--?[^'\s,=]+)/.exec(message)?.[1] ?? 'A flag';
  if (message.startsWith('Unknown option')) {
    return `${command.name} has no flag ${flag}. It knows ${knownFlags(command).join(', ')}.`;
  }
  if (message.includes('does not take an argument')) return `${flag} takes no value.`;
  return `${flag} needs a value.`;
}

/** Every flag of a command, as one types it. */
export function knownFlags(command: CommandShape): string[] {
  return Object.entries({ ...command.options, ...everywhere }).map(([name, { short }]) =>
    short === undefined ? `--${name}` : `-${short} or --${name}`,
  );
}

/** @throws UsageError */
export function checkCount(command: CommandShape, args: readonly string[]): void {
  const { min, max } = command.words;
  if (args.length < min) throw new UsageError(`${command.name} needs ${missingWord(command, args.length)}.`);
  if (args.length > max) throw new UsageError(`${command.name} takes fewer words than that.`);
}

/** `NAME` of `TOOL NAME [--read]`, where nothing but the tool was given. */
function missingWord({ usage }: CommandShape, given: number): string {
  const words = usage.split(' ').filter((word) => /^[A-Z]/.test(word) && word !== 'TOOL');
  return words[given] ?? 'more words than that';
}

/** The whole number of a flag, or `byDefault` where it was not given; `typed` is its name where that is not `--NAME`. @throws UsageError */
export function countOf(
  flags: Words['flags'],
  name: string,
  range: { readonly min: number; readonly max: number; readonly byDefault: number; readonly typed?: string },
): number {
  const text = flags[name];
  if (text === undefined) return range.byDefault;
  const value = typeof text === 'string' && /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return value;
  throw new UsageError(`${range.typed ?? `--${name}`} is a whole number from ${range.min} to ${range.max}.`);
}
