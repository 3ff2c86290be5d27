import type { Process } from '../core/types.ts';

/**
 * Returns the command of a process as text for people. A line of the Procfile is shown without `bash -c`, which runs
 * it.
 */
export function commandLine({ command }: Pick<Process, 'command'>): string {
  const [shell, option, line] = command;
  const isProcfileLine = command.length === 3 && shell === 'bash' && option === '-c';
  return isProcfileLine && line !== undefined ? line : command.join(' ');
}
