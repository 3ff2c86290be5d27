import { DeployError } from '../../core/errors.ts';
import { UsageError } from './usage-error.ts';

// The maximum size of all words of a command together. They can become one argument of execve(2), which can have 128
// KiB (MAX_ARG_STRLEN), and quotes may make them four times as long.
const MAX_WORDS_BYTES = 24 * 1024;

/**
 * Checks the words of a command that a person runs in a sandbox or pod.
 *
 * @throws UsageError if the first word is empty, or if a word is not UTF-8 or has control characters other than tabs
 * and newlines; DeployError `TOO_LONG` if the words have more than `MAX_WORDS_BYTES`.
 */
export function checkProgram(words: readonly string[]): void {
  // Refuse control characters: no terminal shows them, and execve(2) would take a NUL for the end of the word.
  if (words.some((word) => /(?![\t\n])\p{Cc}|\ufffd/u.test(word))) {
    throw new UsageError('A word of the command contains a control character or is not UTF-8.');
  }
  if (words[0] === '') throw new UsageError('The first word of the command is empty.');
  const bytes = words.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0);
  if (bytes <= MAX_WORDS_BYTES) return;
  throw new DeployError(
    'TOO_LONG',
    `the command is longer than ${MAX_WORDS_BYTES / 1024} KiB`,
    'Send long data to the command on its standard input instead.',
  );
}
