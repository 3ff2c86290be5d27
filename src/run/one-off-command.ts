import type { Process, Release } from '../core/types.ts';
import { ONE_OFF_TYPE } from './one-offs.ts';
import type { TerminalSize } from './runtime.ts';

/** What the process says on its old output once the pipes are open. */
export const OPENED = 'opened\n';

/**
 * The process that the words mean: a process type of the Procfile runs its line, with what follows as more words;
 * everything else runs as it is.
 *
 * @see https://devcenter.heroku.com/articles/one-off-dynos#formation-dynos-vs-one-off-dynos
 */
export function processOf({ artifact }: Release, words: readonly string[]): Process {
  const [type, ...more] = words;
  const named = artifact.processes.find((process) => process.type === type);
  if (named === undefined) return { type: ONE_OFF_TYPE, command: words, isDefault: false };
  return { ...named, command: extended(named.command, more) };
}

function extended(command: readonly string[], more: readonly string[]): readonly string[] {
  if (more.length === 0) return command;
  const [shell, option, line] = command;
  const isProcfileLine = command.length === 3 && shell === 'bash' && option === '-c';
  return isProcfileLine ? [shell, option, `${line} "$@"`, shell, ...more] : [...command, ...more];
}

/** Takes the streams of the command from the pipes in this folder, says so, and becomes the command. */
export function onPipes(folder: string, command: readonly string[]): string[] {
  const script = `exec 9>&1 <"$1/in" >"$1/out" 2>"$1/err"; shift; printf '${OPENED.replace('\n', '\\n')}' >&9; exec 9>&-; exec "$@"`;
  return ['/bin/sh', '-c', script, 'sh', folder, ...command];
}

/** script(1), which gives a command a terminal of its own whose other end are its standard streams. */
export const SCRIPT = '/usr/bin/script';

/**
 * Beside the command, and not as its child, a loop sets each size that comes by the pipe (the kernel then sends
 * SIGWINCH); where the pipe ends, the terminal has gone.
 */
const IN_TERMINAL = `folder=$1 leader=$$
stty rows "$2" cols "$3"
shift 3
( (
  trap '' INT QUIT HUP TERM TSTP TTIN TTOU
  while read -r rows columns <&8; do stty rows "$rows" cols "$columns"; done
  kill -HUP "$leader"
) 8<"$folder/size" </dev/tty >/dev/null 2>&1 & )
exec "$@"`;

/**
 * The command in a terminal of its own. It cannot reach another: it is the leader of a session of its own.
 *
 * @param folder - With the pipe `size`.
 */
export function inTerminal(folder: string, size: TerminalSize, command: readonly string[]): string[] {
  const words = ['/bin/sh', '-c', IN_TERMINAL, 'sh', folder, String(size.rows), String(size.columns)];
  const line = `exec ${[...words, ...command].map(quoted).join(' ')}`;
  return [SCRIPT, '--quiet', '--return', '--flush', '--echo', 'always', '--command', line, '/dev/null'];
}

/** One word for sh, whatever is in it. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
