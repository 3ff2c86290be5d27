import type { Process } from '../core/types.ts';

/**
 * Returns the command of a process as text for people. If the command is a line of the Procfile, leaves out the `bash
 * -c` with which the server runs this line.
 */
export function commandLine({ command }: Pick<Process, 'command'>): string {
  const [shell, option, line] = command;
  const isProcfileLine = command.length === 3 && shell === 'bash' && option === '-c';
  return isProcfileLine && line !== undefined ? line : command.join(' ');
}
