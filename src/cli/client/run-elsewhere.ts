import { ReadStream, WriteStream } from 'node:tty';
import { oneLine } from '../../core/progress.ts';
import { findCommand } from '../command-line/find-command.ts';
import { warning } from '../command-line/printing.ts';
import { commands, takesTerminal } from '../command-table.ts';
import type { RemoteServer } from './git-remote.ts';
import { runOverHttp } from './over-http.ts';
import { runOverSsh } from './over-ssh.ts';
import { fillTool, type OwnLine, withTool } from './own-options.ts';
import { type Program, type WithInput, withInput, write } from './program.ts';

/** The exit status of ssh if ssh itself fails. */
const SSH_FAILED = 255;
/** The exit statuses of `run` and `exec` if the program cannot be started, or does not exist. */
const NO_PROGRAM = [126, 127];

/**
 * Runs a command on the server of a git remote, with its input, output and exit status. Puts the tool of `--tool` into
 * the line, or the tool of the remote if the command needs a tool and the line has none.
 *
 * @throws UsageError if the command cannot have the `--tool` of the line; DeployError `NO_FILE` if a named file cannot
 * be read; the errors of `runOverSsh` and `runOverHttp`.
 */
export async function runElsewhere(
  server: RemoteServer,
  { argv, tool }: OwnLine,
  program: Omit<Program, 'argv'>,
): Promise<number> {
  const filled =
    tool === null
      ? fillTool(commands, argv, server.tool)
      : { argv: withTool(commands, argv, tool), doubtful: null };
  const sent = await withInput(commands, filled.argv, program.out);
  const running = server.door === 'ssh' ? overSsh(server, sent, program) : overHttp(server, sent, program);
  const status = await running.catch((error: unknown) => {
    throw sent.readError() ?? error;
  });
  if (sent.readError() !== null) throw sent.readError();
  const { address, remote } = server;
  if (server.door === 'ssh' && status === SSH_FAILED) {
    const what = `ssh ended with status ${SSH_FAILED}. It was to run this command at ${address}, the git remote ${remote} of this folder.`;
    await write(program.err, warning(what, '--local asks the server of this machine instead.'));
  }
  const isVerbatim = findCommand(commands, sent.argv)?.command.isVerbatim === true;
  if (filled.doubtful !== null && (isVerbatim ? NO_PROGRAM : [1, 2]).includes(status)) {
    const word = oneLine(filled.doubtful).slice(0, 80);
    const what = `The tool was ${server.tool}, because of the git remote ${remote} of this folder. If “${word}” is the tool, add --tool ${word}.`;
    await write(program.err, warning(what));
  }
  return status;
}

async function overSsh(
  server: Extract<RemoteServer, { door: 'ssh' }>,
  { argv, input }: WithInput,
  { environment, input: own, out }: Omit<Program, 'argv'>,
): Promise<number> {
  const isAtTerminal = own instanceof ReadStream && out instanceof WriteStream;
  return await runOverSsh(server, argv, {
    environment,
    input: input === 'own' ? 'inherit' : input === 'none' ? 'ignore' : input,
    hasTerminal: isAtTerminal && takesTerminal(argv),
  });
}

async function overHttp(
  server: Extract<RemoteServer, { door: 'http' }>,
  { argv, input }: WithInput,
  { environment, input: own, out, err }: Omit<Program, 'argv'>,
): Promise<number> {
  return await runOverHttp(server, {
    ...{ environment, argv },
    input: input === 'own' ? own : input === 'none' ? null : input,
    out: (bytes) => write(out, bytes),
    err: (bytes) => write(err, bytes),
  });
}
