import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { DirectoryFile } from '../auth/file/directory-yaml.ts';
import { readConfig } from '../config.ts';
import { openDataFolder } from '../core/disk/data-folder.ts';
import { DeployError, systemCode } from '../core/errors.ts';
import { createLog } from '../core/log/log.ts';
import { addressesOf, httpRemote, sshRemote } from '../core/network/addresses.ts';
import { progressTo } from '../core/progress.ts';
import { sentence } from '../core/text/sentence.ts';
import { auditFile } from '../store/audit-file.ts';
import { adminCommands, runAdmin } from './admin/admin.ts';
import { buildpackCommands, runBuildpackCommand } from './admin/buildpack-commands.ts';
import { recoveryCommands, runRecovery } from './admin/recovery-commands.ts';
import { runStack, stackCommands } from './admin/stack-commands.ts';
import type { CommandShape } from './command.ts';
import { findCommand } from './command-line/find-command.ts';
import { warning } from './command-line/printing.ts';
import { commands, takesTerminal } from './command-table.ts';
import { listCommands, typedHere } from './commands/help.ts';
import { holdCleanUp } from './control/clean-up-client.ts';
import { callControl } from './control/control-client.ts';
import { folderToDeploy } from './control/folder-archive.ts';
import { unknownCommand } from './run-command.ts';

export interface Terminal {
  readonly argv: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly input: AsyncIterable<Uint8Array>;
  readonly out: Writable;
  readonly err: Writable;
}

/** The exit status if the reader has closed the pipe. A shell reports the same for SIGPIPE. */
const closedPipeStatus = 141;

/**
 * The local binary. It runs `start` and the commands of `families` itself. All other commands are run by the server of the
 * same data folder.
 *
 * @returns the exit status. After `start`, the process continues to run.
 */
async function runBinary(terminal: Terminal): Promise<number> {
  const { argv, err } = terminal;
  // Without a listener, an error of these streams would end the process with a stack. Writing reports the same error.
  terminal.out.on('error', () => undefined);
  err.on('error', () => undefined);
  try {
    if (argv[0] === 'start') return await start(terminal);
    if (isCallForHelp(argv)) return await help(terminal);
    const [first, ...words] = argv;
    const asked = first === 'help' ? [...words, '--help'] : argv;
    for (const [family, run] of families) {
      if (findCommand(family, asked) !== null) return await run({ ...terminal, argv: asked });
    }
    return await command(terminal);
  } catch (error) {
    if (systemCode(error) === 'EPIPE') return closedPipeStatus;
    if (!(error instanceof DeployError)) throw error;
    await write(err, warning(sentence(error.message), error.hint));
    return 1;
  }
}

/**
 * The families of commands that this binary runs itself, each with the function that runs it. All other commands are run by
 * the server.
 */
const families: readonly (readonly [readonly CommandShape[], (terminal: Terminal) => Promise<number>])[] = [
  [adminCommands, administer],
  [stackCommands, stack],
  [buildpackCommands, buildpack],
  [recoveryCommands, recover],
];
const operatorCommands = families.flatMap(([family]) => family);

/** Runs the binary for this process, and sets its exit status. */
export async function main(): Promise<void> {
  process.exitCode = await runBinary({
    argv: process.argv.slice(2),
    environment: process.env,
    input: process.stdin,
    out: process.stdout,
    err: process.stderr,
  });
}

async function start({ argv, err }: Terminal): Promise<number> {
  if (argv.length > 1) {
    await write(
      err,
      warning(
        'The command start takes no arguments: its settings come from the environment or the configuration file.',
        `Usage: ${typedHere('start')}`,
      ),
    );
    return 2;
  }
  const server = await import('../main.ts');
  await server.main();
  return 0;
}

/** True if the command line asks for the list of all commands, which can be printed without a running server. */
function isCallForHelp(argv: readonly string[]): boolean {
  return argv.length === 0 || (argv.length === 1 && ['help', '--help', '-h'].includes(argv[0] ?? ''));
}

async function help({ out }: Terminal): Promise<number> {
  const startCommand = {
    name: 'start',
    usage: '',
    summary: 'start the server',
    options: {},
    words: { min: 0, max: 0 },
  };
  await write(out, listCommands([startCommand, ...operatorCommands, ...commands], typedHere));
  return 0;
}

async function administer({ argv, environment, input, out, err }: Terminal): Promise<number> {
  const config = readConfig(environment);
  if (config.directory === 'ldap' && !argv.includes('--help')) throw keptInLdap(config.ldap_servers);
  const addresses = addressesOf(config, config);
  const socketPath = socketOf(config.data);
  return await runAdmin({
    argv,
    directory: new DirectoryFile(join(config.data, 'directory.yaml'), () => beginIn(config.data)),
    remotes: (uid, tool) => [sshRemote(addresses, uid, tool), httpRemote(addresses, uid, tool)],
    revokeTokens: (tool, by) => revokeTokens(socketPath, tool, by),
    input: input instanceof ReadStream ? hiddenLine(input, (text) => write(err, text)) : input,
    out: (text) => write(out, text),
    err: (text) => write(err, text),
    audit: auditFile(config.data, createLog(config.log_level)),
  });
}

/** What a server leaves in its data folder. One of these is enough to know that it has started there. */
const TRACES = ['store.sqlite', 'repositories', 'releases', 'backups'];

/** Makes the data folder for the first start of a server. @returns false if a server has already started on it. */
async function beginIn(data: string): Promise<boolean> {
  if (TRACES.some((name) => existsSync(join(data, name)))) return false;
  await openDataFolder(data);
  return true;
}

async function recover({ argv, environment, out, err }: Terminal): Promise<number> {
  const config = readConfig(environment);
  return await runRecovery({
    argv,
    config,
    path: environment['PATH'] ?? '/usr/bin:/bin',
    stdout: out,
    holdCleanUp: () => holdCleanUp(socketOf(config.data)),
    interruption,
    audit: auditFile(config.data, createLog(config.log_level)),
    out: (text) => write(out, text),
    err: (text) => write(err, text),
  });
}

async function stack({ argv, environment, out, err }: Terminal): Promise<number> {
  const config = readConfig(environment);
  const socketPath = socketOf(config.data);
  return await runStack({
    argv,
    config,
    progress: progressTo((text) => void write(out, text)),
    server: {
      ask: (words) => ask(socketPath, words),
      run: (words) =>
        callControl({
          socketPath,
          argv: words,
          input: null,
          out: (bytes) => write(out, bytes),
          err: (bytes) => write(err, bytes),
        }),
    },
    audit: auditFile(config.data, createLog(config.log_level)),
    out: (text) => write(out, text),
    err: (text) => write(err, text),
  });
}

async function buildpack({ argv, environment, out, err }: Terminal): Promise<number> {
  return await runBuildpackCommand({
    argv,
    config: () => readConfig(environment),
    progress: progressTo((text) => void write(out, text)),
    out: (text) => write(out, text),
    err: (text) => write(err, text),
    signal: interruption(),
  });
}

/** Lets the command clean up at the first Ctrl-C. The second ends the process. */
function interruption(): AbortSignal {
  const ended = new AbortController();
  const end = () => {
    if (ended.signal.aborted) process.exit(1);
    ended.abort(new DeployError('INTERRUPTED', 'the command was interrupted', 'Type it again.'));
  };
  // Not `once`: while execa has children, it ends this process at a signal for which it finds no other listener.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, end);
  return ended.signal;
}

/**
 * Revokes the deploy tokens of the tool in the running server: all, or those that the user `by` made.
 *
 * @returns the text of the server, or null if no server is running.
 * @throws DeployError if the server refuses.
 */
async function revokeTokens(socketPath: string, tool: string, by?: string): Promise<string | null> {
  try {
    if (by === undefined) return await ask(socketPath, ['token', 'revoke', tool, '--all']);
    const tokens: { by: string }[] = JSON.parse(await ask(socketPath, ['token', 'list', tool, '--json']));
    if (!tokens.some((token) => token.by === by)) return '';
    return await ask(socketPath, ['token', 'revoke', tool, '--by', by]);
  } catch (error) {
    if (error instanceof DeployError && error.code === 'NO_SERVER') return null;
    throw error;
  }
}

/**
 * Runs a command in the server, and returns its text.
 *
 * @throws DeployError `NOT_DONE` if the command fails; `NO_SERVER` if no server runs; `NOT_THE_OPERATOR`;
 * `SERVER_GONE` if the server ends before it has answered.
 */
async function ask(socketPath: string, argv: readonly string[]): Promise<string> {
  const said: Uint8Array[] = [];
  const note = async (bytes: Uint8Array) => void said.push(bytes);
  const status = await callControl({ socketPath, argv, input: null, out: note, err: note });
  const text = Buffer.concat(said).toString();
  if (status === 0) return text;
  throw new DeployError('NOT_DONE', text.trim(), 'Read the log of the server for the reason.');
}

function socketOf(dataFolder: string): string {
  return join(dataFolder, 'run', 'server.sock');
}

function keptInLdap(servers: readonly string[]): DeployError {
  return new DeployError(
    'KEPT_IN_LDAP',
    `this server reads users and tools from LDAP (${servers.join(', ')}), so this command cannot change them`,
    'Add, change or remove users and tools in LDAP; for Toolforge, use https://toolsadmin.wikimedia.org.',
  );
}

async function command(terminal: Terminal): Promise<number> {
  const { argv, environment, input, out, err } = terminal;
  const found = findCommand(commands, argv);
  if (found === null) {
    await write(err, unknownCommand(argv[0] ?? '', [...commands, ...operatorCommands]));
    return 2;
  }
  if (found.command.isBinary === true && 'isTTY' in out && out.isTTY === true && !argv.includes('--help'))
    throw toTerminal(argv);
  const folder = found.command.takesFolder === true ? await folderToDeploy(found.command, found.words) : null;
  if (folder !== null) return await deployFolder(terminal, folder);
  const file = found.command.takesFile === true ? fileWord(found.words) : null;
  return await callControl({
    socketPath: socketOf(readConfig(environment).data),
    argv: file === null ? argv : argv.with(argv.lastIndexOf(file), '-'),
    // Only commands that may need input get it. Otherwise a command inside a shell's `while read` loop would read the
    // input of the loop.
    input:
      file !== null
        ? Readable.from([readNamed(file)])
        : takesTerminal(argv) || argv.includes('-')
          ? input
          : null,
    out: (bytes) => write(out, bytes),
    err: (bytes) => write(err, bytes),
  });
}

/** Sends a folder to the server, as the standard input of the command. */
async function deployFolder(
  { environment, out, err }: Terminal,
  { argv, tar }: { readonly argv: readonly string[]; readonly tar: AsyncIterable<Uint8Array> },
): Promise<number> {
  let failure: unknown = null;
  async function* input() {
    try {
      yield* tar;
    } catch (error) {
      failure = error;
      throw error;
    }
  }
  try {
    return await callControl({
      socketPath: socketOf(readConfig(environment).data),
      argv,
      input: input(),
      out: (bytes) => write(out, bytes),
      err: (bytes) => write(err, bytes),
    });
  } catch (error) {
    // If the folder cannot be read, the connection ends, and that error would say nothing.
    throw failure ?? error;
  }
}

function toTerminal(argv: readonly string[]): DeployError {
  return new DeployError(
    'OUTPUT_TO_TERMINAL',
    'a tar is not shown on a terminal',
    `Write it to a file: ${typedHere(argv.join(' '))} > file.tar`,
  );
}

/** Returns the word that names a file: the second word that is not a flag. Null if there is none, or if it is `-`. */
function fileWord(words: readonly string[]): string | null {
  const file = words.filter((word) => word === '-' || !word.startsWith('-'))[1];
  return file === undefined || file === '-' ? null : file;
}

/** @throws DeployError `NO_FILE` */
function readNamed(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    const code = systemCode(cause);
    if (code === null) throw cause;
    throw new DeployError(
      'NO_FILE',
      `the file ${file} cannot be read (${code})`,
      'Check the name of the file.',
      {
        cause,
      },
    );
  }
}

/** Writes to a stream. If its buffer is full, waits until the reader has taken what it holds. */
async function write(stream: Writable, data: string | Uint8Array): Promise<void> {
  if (stream.errored !== null) throw stream.errored;
  if (data.length > 0 && !stream.write(data)) await once(stream, 'drain');
}

/**
 * Asks the person at the terminal for a password, and yields it as one line, which the terminal does not show. Asks
 * only when a command begins to read the line.
 *
 * @throws DeployError `NO_PASSWORD`
 */
async function* hiddenLine(
  terminal: ReadStream,
  say: (text: string) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  // Begin to read before the question is printed, so that the terminal does not show a key that is pressed early.
  const lines = createInterface({ input: terminal, output: nowhere, terminal: true });
  try {
    const line = new Promise<string | null>((resolve) => {
      lines.once('line', resolve);
      lines.once('close', () => resolve(null));
    });
    await say('Password: ');
    const typed = await line;
    await say('\n');
    if (typed === null) throw new DeployError('NO_PASSWORD', 'no password was given', 'Nothing has changed.');
    yield Buffer.from(`${typed}\n`);
  } finally {
    lines.close();
  }
}

if (import.meta.main) await main();
