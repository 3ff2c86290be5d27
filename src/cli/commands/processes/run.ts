import { DeployError } from '../../../core/errors.ts';
import { liveRelease } from '../../../deploy/release/live-release.ts';
import type { ToolCommand, ToolContext } from '../../command.ts';
import { warning } from '../../command-line/printing.ts';
import { UsageError } from '../../command-line/usage-error.ts';

// MAX_ARG_STRLEN of execve(2) is 128 KiB, and a quoted word may be four times as long.
const MAX_WORDS_BYTES = 24 * 1024;

export const runOneOffCommand: ToolCommand = {
  name: 'run',
  usage: 'TOOL COMMAND …',
  summary: 'run a command with the live release: a migration, a shell',
  details: [
    'COMMAND is a program with its arguments and flags. It runs without a shell. To use a shell: run TOOL bash -c "one | two"',
    'Over SSH, your own shell removes one pair of quotes, so add another pair: run TOOL "bash -c \'one | two\'"',
    'If the first word is a process type of the Procfile, its command runs, with the other words as arguments.',
    'You are connected to the command’s standard input, output and error, and get its exit status. For a terminal: ssh -t',
    'Files that the command writes are deleted when it ends. The release does not change.',
  ],
  action: 'deploy',
  // The audit log keeps only the program, because people type passwords as arguments.
  audited: ([program = '', ...rest]) => (rest.length === 0 ? [program] : [program, '…']),
  options: {},
  words: { min: 1, max: 10_000 },
  isVerbatim: true,
  takesTerminal: true,
  async run(context) {
    const { services, tool, args, terminal, input, out, err, signal } = context;
    checkWords(args);
    const release = liveRelease(services.store, tool);
    const { status, why } = await services.runtime.run({
      release,
      toolNumber: services.store.tool(tool).number,
      command: args,
      terminal,
      input,
      output: out,
      errors: err,
      signal,
    });
    if (why !== null) await err(warning(why));
    return status;
  },
};

/**
 * Checks the words of the command.
 *
 * @throws UsageError if the first word is empty, or a word is not UTF-8 or has control characters other than
 * tabs and newlines; DeployError
 * `TOO_LONG`.
 */
function checkWords(words: ToolContext['args']): void {
  // No terminal shows a control character, and a NUL would end the word: execve(2).
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
