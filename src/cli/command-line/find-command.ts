import type { CommandShape } from '../command.ts';

/** The command that the line begins with, and the words after its name. Its name has one or two words. Null if there is no such command. */
export function findCommand<Shape extends CommandShape>(
  commands: readonly Shape[],
  argv: readonly string[],
): { readonly command: Shape; readonly words: readonly string[] } | null {
  for (const length of [2, 1]) {
    const name = argv.slice(0, length).join(' ');
    const command = argv.length >= length ? commands.find((item) => item.name === name) : undefined;
    if (command !== undefined) return { command, words: argv.slice(length) };
  }
  return null;
}
