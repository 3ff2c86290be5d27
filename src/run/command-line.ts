import type { Process } from '../core/types.ts';

/** What a process runs, for people: the line of the Procfile where there is one, without the shell that reads it. */
export function commandLine({ command }: Pick<Process, 'command'>): string {
  const [shell, option, line] = command;
  const isProcfileLine = command.length === 3 && shell === 'bash' && option === '-c';
  return isProcfileLine && line !== undefined ? line : command.join(' ');
}
