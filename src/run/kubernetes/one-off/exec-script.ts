import { quoted } from '../../one-off-command.ts';
import type { TerminalSize } from '../../runtime.ts';
import { LAUNCHER } from './one-off-pod.ts';

/**
 * The environment variable that all processes of one `exec` command have. Its value is `mark`, a random text for each
 * command. It shows which processes must get a signal for the command.
 */
const EXEC_VARIABLE = 'TOOLFORGE_PUSH_EXEC';
/**
 * The command is sent in base64, in lines of at most this many characters, because a terminal cuts lines of more than
 * 4,095 characters: termios(3).
 */
const MAX_LINE_CHARACTERS = 1000;

/**
 * A part of a shell script that reads a command from the first lines of its input, up to an empty line. The lines are
 * base64 of the command's words, which are quoted for a shell. The words are not arguments of the script, because all
 * arguments are in the URL of the request, which the cluster's audit log keeps.
 */
const READ_WORDS = `mark=$1
coded=
while IFS= read -r line && [ -n "$line" ]; do coded+=$line; done
eval "set -- $(printf %s "$coded" | base64 -d)"`;

/**
 * The script that runs a command without a terminal. The script prints `mark`, a random text, to standard output before
 * the command starts. When the command has ended, the script prints `mark` to standard error, then `mark` and the exit
 * status to standard output. So the server can disconnect, although background processes of the command keep the output
 * open. The script catches signals, so that it can still print the status.
 */
const PIPED = `${READ_WORDS}
printf '\\0%s' "$mark"
trap : HUP INT QUIT TERM
(exec "$@")
status=$?
printf '\\0%s' "$mark" >&2
printf '\\0%s%s\\n' "$mark" "$status"`;

/**
 * The script that runs a command in a terminal. The first line of the script's input has the size of the terminal.
 * `exec` puts the command in the place of the shell. Otherwise, a key such as Ctrl-C would also send its signal to the
 * shell.
 */
const IN_TERMINAL = `stty -echo
read -r rows columns
${READ_WORDS}
stty echo rows "$rows" cols "$columns"
printf '\\0%s' "$mark"
exec "$@"`;

/**
 * A script that sends a signal to all processes of the container that have a certain environment variable. The
 * arguments of the script are the variable, as `NAME=value`, and the name of the signal.
 */
const SIGNAL = `for folder in /proc/[0-9]*; do
  while IFS= read -r -d '' pair; do
    if [ "$pair" = "$1" ]; then kill -s "$2" "\${folder#/proc/}"; break; fi
  done <"$folder/environ"
done 2>/dev/null`;

/**
 * Returns the program that the container runs for a command of `exec`. The program prints `markBytes(mark)` before the
 * output of the command.
 *
 * @param mark - Random hexadecimal digits.
 * @param type - The value of TERM for a command in a terminal. Null if the command gets no terminal.
 */
export function execProgram(mark: string, type: string | null): string[] {
  const variables = [`${EXEC_VARIABLE}=${mark}`, ...(type === null ? [] : [`TERM=${type}`, 'SHELL=/bin/sh'])];
  const script = type === null ? PIPED : IN_TERMINAL;
  return [...LAUNCHER, 'env', ...variables, '/bin/bash', '-c', script, 'bash', mark];
}

/**
 * Returns the program that sends a signal to an `exec` command and to everything that it has started. It finds these
 * processes by an environment variable, whose value is the `mark` of the command.
 */
export function signalProgram(mark: string, name: 'TERM' | 'HUP' | 'KILL'): string[] {
  return ['/bin/bash', '-c', SIGNAL, 'bash', `${EXEC_VARIABLE}=${mark}`, name];
}

/**
 * Returns what the server sends to `execProgram` before the client's input: the size of the terminal, if there is one,
 * and the words of the command.
 */
export function firstLines(command: readonly string[], size: TerminalSize | undefined): string {
  const coded = Buffer.from(command.map(quoted).join(' ')).toString('base64');
  const lines = coded.match(new RegExp(`.{1,${MAX_LINE_CHARACTERS}}`, 'g')) ?? [];
  return [...(size === undefined ? [] : [`${size.rows} ${size.columns}`]), ...lines, '', ''].join('\n');
}
