import { constants } from 'node:os';
import { execa } from 'execa';
import { DeployError, systemCode } from '../../core/errors.ts';
import { git, type SshServer } from './git-remote.ts';

/** The environment, the input and the terminal of a command on another server. */
export interface Connected {
  readonly environment: NodeJS.ProcessEnv;
  /** Standard input: this process's own, none, or these bytes. */
  readonly input: 'inherit' | 'ignore' | AsyncIterable<Uint8Array>;
  /** True if the command gets a terminal. */
  readonly hasTerminal: boolean;
}

/**
 * Runs a command on another server with the person's own ssh, with the settings that git uses: GIT_SSH_COMMAND,
 * `core.sshCommand`, GIT_SSH. ssh writes to the standard output and error output of this process. If the command has no
 * terminal, Ctrl-C ends ssh and so the command.
 *
 * @returns the exit status of the command; 255 if ssh failed; 128 and the number of the signal if a signal ended ssh.
 * @throws DeployError `NO_SSH` if ssh could not be started.
 */
export async function runOverSsh(
  { user, host, port }: SshServer,
  argv: readonly string[],
  { environment, input, hasTerminal }: Connected,
): Promise<number> {
  const [program, ...begin] = await sshProgram(environment);
  const args = [
    ...begin,
    ...(port === null ? [] : ['-p', port]),
    ...(hasTerminal ? ['-t'] : []),
    // Write `--`, because ssh would otherwise look for more options after the host.
    ...['--', user === null ? host : `${user}@${host}`, commandText(argv)],
  ];
  // A terminal sends Ctrl-C to ssh too, so this process ignores the signal and waits until ssh has ended.
  const wait = () => undefined;
  process.on('SIGINT', wait);
  try {
    const { exitCode, signal, cause } = await execa(program, args, {
      ...{ env: environment, extendEnv: false, reject: false },
      ...{ stdin: input, stdout: 'inherit', stderr: 'inherit' },
    });
    if (exitCode !== undefined) return exitCode;
    if (signal !== undefined) return 128 + constants.signals[signal];
    throw notStarted(cause);
  } finally {
    process.off('SIGINT', wait);
  }
}

/**
 * The program for SSH and its first arguments. GIT_SSH_COMMAND and git's setting `core.sshCommand` are command lines,
 * so a shell runs them, as in git.
 */
async function sshProgram(environment: NodeJS.ProcessEnv): Promise<[string, ...string[]]> {
  const line =
    environment['GIT_SSH_COMMAND'] || (await git(environment, ['config', '--get', 'core.sshCommand']));
  if (line) return ['sh', '-c', `${line} "$@"`, line];
  return [environment['GIT_SSH'] || 'ssh'];
}

function notStarted(cause: unknown): DeployError {
  const code = systemCode(cause);
  return new DeployError(
    'NO_SSH',
    `ssh could not be started${code === null ? '' : ` (${code})`}`,
    code === 'E2BIG'
      ? 'The command is too long. Send long values on standard input.'
      : 'Install OpenSSH, or use a remote over HTTPS.',
    { cause },
  );
}

/** Quotes the words into one text. The server splits this text into the same words, as a POSIX shell would. */
export function commandText(argv: readonly string[]): string {
  return argv.map(quoteWord).join(' ');
}

function quoteWord(word: string): string {
  return /^[-\w@%+=:,./]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
