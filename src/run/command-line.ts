import type { Process } from '../core/types.ts';

/** The command of a process, for people. A line of the Procfile is shown without the shell that runs it. */
export function commandLine({ command }: Pick<Process, 'command'>): string {
  const [shell, option, line] = command;
  const isProcfileLine = command.length === 3 && shell === 'bash' && option === '-c';
  return isProcfileLine && line !== undefined ? line : command.join(' ');
}
