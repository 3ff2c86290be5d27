import { type Addresses, httpCommand, sshCommand } from '../../core/network/addresses.ts';
import type { Principal } from '../../core/types.ts';
import { type CommandShape, EXIT_STATUS, type LoginCommand, type Typed } from '../command.ts';
import { columns } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';

/** Makes the command `help`, which explains the commands that `all` returns for a person. */
export function helpCommand(all: (principal: Principal) => readonly CommandShape[]): LoginCommand {
  return {
    name: 'help',
    usage: '[COMMAND]',
    summary: 'list all commands, or explain one command',
    examples: ['help', 'help config set'],
    action: null,
    options: {},
    words: { min: 0, max: 2 },
    async run({ services, principal, args, out }) {
      const typed = typedAt(principal, services.addresses);
      const known = all(principal);
      await out(args.length === 0 ? listCommands(known, typed) : describe(known, args, typed));
      return 0;
    },
  };
}

/** Returns how the person types commands: with ssh, with curl, or with the local binary. */
export function typedAt(principal: Principal, addresses: Addresses): Typed {
  switch (principal.door) {
    case 'ssh':
      return (words) => sshCommand(addresses, principal.uid, words);
    case 'local':
      return typedHere;
    case 'http':
      return (words) => httpCommand(addresses, principal.uid, words);
    default:
      return principal.door satisfies never;
  }
}

/** Returns how people type commands on the machine of the server. */
export const typedHere: Typed = (words) => `npx toolforge-push ${words}`;

/**
 * Replaces each command between backticks in a hint, such as `logs hello`, by the line that the person must type: with
 * ssh, with curl, or with the local binary. A command without arguments stays as it is.
 */
export function asTyped(hint: string, commands: readonly CommandShape[], typed: Typed): string {
  const names = new Set(commands.map(({ name }) => name.split(' ')[0]));
  return hint.replace(/`([a-z]+)( [^`]+)`/g, (whole, name: string, rest: string) =>
    names.has(name) ? typed(`${name}${rest}`) : whole,
  );
}

/** A list of all commands, one per line. */
export function listCommands(commands: readonly CommandShape[], typed: Typed): string {
  const listed = commands.filter(({ isAlias }) => isAlias !== true);
  const lines = columns(listed.map(({ name, usage, summary }) => [`${name} ${withoutFlags(usage)}`, summary]))
    .split('\n')
    .map((line) => (line === '' ? line : `  ${line}`))
    .join('\n');
  return `Usage: ${typed('COMMAND …')}\n\n${lines}\nMore about one command: ${typed('help COMMAND')}\n`;
}

/** The usage without optional flags, so that the list fits a terminal. */
function withoutFlags(usage: string): string {
  return usage.replace(/ ?\[-[^\]]*\]…?/g, '').trimStart();
}

/** The help about one command: usage, summary, details, examples and exit status. */
export function describeCommand(command: CommandShape, typed: Typed): string {
  const usage = `Usage: ${typed(`${command.name} ${command.usage}`.trimEnd())}`;
  const { summary, details = [], examples, exitStatus = EXIT_STATUS } = command;
  const typedExamples = examples.map((example) => `    ${typed(example)}`);
  const lines = [
    usage,
    '',
    `${capital(summary)}.`,
    ...details,
    '',
    'For example:',
    ...typedExamples,
    '',
    exitStatus,
  ];
  return lines.map((line) => `${line}\n`).join('');
}

/**
 * Explains one command, or all commands of a family such as `config`. @throws UsageError if there is no such command.
 */
export function describe(commands: readonly CommandShape[], words: readonly string[], typed: Typed): string {
  const name = words.join(' ');
  const listed = commands.filter(({ isAlias }) => isAlias !== true);
  const meant = listed.filter((command) => command.name === name || command.name.startsWith(`${name} `));
  if (name === 'push')
    throw new UsageError(
      '`push` is a command of git: git push toolforge main. `help` lists all other commands.',
    );
  if (meant.length === 0) throw new UsageError('There is no such command; `help` lists all commands.');
  return meant.map((command) => describeCommand(command, typed)).join('\n');
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
