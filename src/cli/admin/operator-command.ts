import type { CommandShape } from '../command.ts';
import { findCommand } from '../command-line/find-command.ts';
import { checkCount, parseWords, type Words } from '../command-line/parse-words.ts';
import { warning } from '../command-line/printing.ts';
import { UsageError } from '../command-line/usage-error.ts';
import { describeCommand, typedHere } from '../commands/help.ts';

/** Who runs the commands of src/cli/admin, as the audit log names them. */
export const OPERATOR = { uid: 'operator', door: 'local', credential: 'local', address: '' } as const;

/** A command line that an operator types on the server's machine. */
export interface OperatorLine {
  readonly argv: readonly string[];
  readonly out: (text: string) => Promise<void>;
  readonly err: (text: string) => Promise<void>;
}

/**
 * Finds the command of a line, checks the words after its name, and calls `run`. With `--help`, prints the help of the
 * command instead.
 *
 * @returns the exit status: that of `run`, 0 after help, or 2 after a UsageError. Rejects with all other errors of
 * `run`.
 */
export async function runOperatorCommand<Shape extends CommandShape>(
  commands: readonly Shape[],
  { argv, out, err }: OperatorLine,
  run: (command: Shape, words: Words) => Promise<number>,
): Promise<number> {
  const found = findCommand(commands, argv);
  if (found === null) throw new Error('The line begins with none of the commands that the caller gave.');
  const { command } = found;
  try {
    const words = parseWords(command, found.words);
    if (words.flags['help'] === true) {
      await out(describeCommand(command, typedHere));
      return 0;
    }
    checkCount(command, words.positionals);
    return await run(command, words);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    await err(warning(error.message, `Usage: ${typedHere(`${command.name} ${command.usage}`.trimEnd())}`));
    return 2;
  }
}
