import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { ONE_OFF_TYPE } from '../core/replicas.ts';
import type { Process, Release } from '../core/types.ts';
import type { TerminalSize } from './runtime.ts';

/** How many milliseconds a client that does not read the output can delay the end of a killed command. */
const LAST_OUTPUT_MS = 5000;

/**
 * Resolves when the server stops waiting for a client that does not read the output of a command. This is 5 s after
 * both have happened: the command has ended, and `signal` has fired. So if a command ends by itself, its client has at
 * least until `signal` fires to read the output.
 *
 * @param signal - Ends the command, for example at its time limit.
 */
export async function untilGivenUp(ended: Promise<unknown>, signal: AbortSignal): Promise<void> {
  await ended;
  if (!signal.aborted) await once(signal, 'abort');
  await wait(LAST_OUTPUT_MS, null, { ref: false });
}

/**
 * The script around a command prints this text once it has opened the pipes of the command. For `run`, it prints the
 * text to its standard output (see `onPipes`); for `exec`, to the pipe `status` (see `ExecAgent`).
 */
export const OPENED = 'opened\n';

/**
 * Returns the process that `run WORDS` starts. If the first word is a process type of the release's artifact, the
 * command of this type runs with the other words as arguments. Otherwise the words themselves are the command.
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

/**
 * Wraps a command. The wrapper opens the pipes `in`, `out` and `err` in `folder` as the command's input, output and
 * error output. Then the wrapper prints `OPENED`, and becomes the command.
 */
export function onPipes(folder: string, command: readonly string[]): string[] {
  const script = `exec 9>&1 <"$1/in" >"$1/out" 2>"$1/err"; shift; printf '${OPENED.replace('\n', '\\n')}' >&9; exec 9>&-; exec "$@"`;
  return ['/bin/sh', '-c', script, 'sh', folder, ...command];
}

/**
 * The path of script(1), which runs a command in a new terminal, and passes data between that terminal and its own
 * standard streams.
 */
export const SCRIPT = '/usr/bin/script';

/**
 * A shell script that runs a command in a terminal. Beside the command runs a loop, which reads the sizes of the
 * client's terminal from a pipe. The loop sets each size on the command's terminal, and the kernel then sends SIGWINCH
 * to the command. When the pipe ends, the client has disconnected, and the loop sends SIGHUP to the command. If `stty`
 * fails then, the loop sends no SIGHUP: the command has ended, and another process may have got its process id.
 */
const IN_TERMINAL = `folder=$1 leader=$$
stty rows "$2" cols "$3"
shift 3
( (
  trap '' INT QUIT HUP TERM TSTP TTIN TTOU
  while read -r rows columns <&8; do stty rows "$rows" cols "$columns"; done
  stty -g && kill -HUP "$leader"
) 8<"$folder/size" </dev/tty >/dev/null 2>&1 & )
exec "$@"`;

/**
 * Wraps a command so that it runs in its own terminal. The command cannot reach another terminal, because it leads a
 * new session.
 *
 * @param folder - The folder with the pipe `size`. Each line in the pipe gives a new size of the client's terminal.
 * @param size - The size of the client's terminal at the start.
 */
export function inTerminal(folder: string, size: TerminalSize, command: readonly string[]): string[] {
  const words = ['/bin/sh', '-c', IN_TERMINAL, 'sh', folder, String(size.rows), String(size.columns)];
  const line = `exec ${[...words, ...command].map(quoted).join(' ')}`;
  return [SCRIPT, '--quiet', '--return', '--flush', '--echo', 'always', '--command', line, '/dev/null'];
}

/** Quotes one word for sh. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
