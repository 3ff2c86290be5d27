import type { CommandShape } from '../command.ts';

/**
 * Finds the command whose name, of one or two words, begins the line. @returns the command and the words after its
 * name. Null if no command has this name.
 */
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
