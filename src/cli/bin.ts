import { existsSync } from 'node:fs';
import { join } from 'node:path';
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
import { hiddenLine } from './admin/hidden-line.ts';
import { runOperatorCommand } from './admin/operator-command.ts';
import { recoveryCommands, runRecovery } from './admin/recovery-commands.ts';
import { runStack, stackCommands } from './admin/stack-commands.ts';
import { runTransfer, transferCommands } from './admin/transfer-commands.ts';
import { assertHere, chooseServer, withRemotes } from './client/choose-server.ts';
import { completionCommand, completionScript } from './client/completion.ts';
import { type OwnLine, ownLine, withTool } from './client/own-options.ts';
import { type Program, withInput, write } from './client/program.ts';
import type { CommandShape } from './command.ts';
import { findCommand } from './command-line/find-command.ts';
import { parseWords } from './command-line/parse-words.ts';
import { warning } from './command-line/printing.ts';
import { UsageError } from './command-line/usage-error.ts';
import { commands } from './command-table.ts';
import { describe, listCommands, typedHere } from './commands/help.ts';
import { holdCleanUp } from './control/clean-up-client.ts';
import { callControl } from './control/control-client.ts';
import { unknownCommand } from './run-command.ts';

/** The exit status if the reader of the output has closed the pipe. A shell reports this status for SIGPIPE. */
const closedPipeStatus = 141;

/**
 * The program `toolforge-push`. It runs `help` and the commands of `families` itself. All other commands run in a
 * server: in the server of the data folder, or in the server of a git remote (`chooseServer`).
 *
 * @returns the exit status. After `start`, the process continues to run.
 */
async function runBinary(program: Program): Promise<number> {
  const { argv, err } = program;
  // Ignore errors of these streams here, because `write` throws them. Without a listener, such an error would end the
  // process with a stack trace.
  program.out.on('error', () => undefined);
  err.on('error', () => undefined);
  try {
    const line = ownLine(argv, allCommands);
    const about = helpWords(line.argv);
    if (about !== null) return await help(about, line, program);
    const own = { ...program, argv: line.argv };
    for (const { family, run, isAnywhere } of families) {
      const found = findCommand(family, line.argv);
      if (found === null) continue;
      if (isAnywhere !== true) await checkHere(found.command, line, program);
      return await run(own);
    }
    return await command(line, program);
  } catch (error) {
    if (systemCode(error) === 'EPIPE') return closedPipeStatus;
    if (error instanceof UsageError) {
      await write(err, warning(error.message));
      return 2;
    }
    if (!(error instanceof DeployError)) throw error;
    await write(err, warning(sentence(error.message), error.hint));
    return 1;
  }
}

const startCommand: CommandShape = {
  name: 'start',
  usage: '',
  summary: 'start the server',
  details: [
    'The settings come from the environment and from the file that TOOLFORGE_PUSH_CONFIG names. Ctrl-C ends the server.',
  ],
  examples: ['start'],
  options: {},
  words: { min: 0, max: 0 },
};

interface Family {
  readonly family: readonly CommandShape[];
  readonly run: (program: Program) => Promise<number>;
  /** True if the commands also make sense on a machine without a server. */
  readonly isAnywhere?: true;
}

/** The commands that this program runs itself, besides `help`. All other commands run in a server. */
const families: readonly Family[] = [
  { family: [startCommand], run: start, isAnywhere: true },
  { family: [completionCommand], run: complete, isAnywhere: true },
  { family: adminCommands, run: administer },
  { family: transferCommands, run: transfer },
  { family: stackCommands, run: stack },
  { family: buildpackCommands, run: buildpack, isAnywhere: true },
  { family: recoveryCommands, run: recover },
];
const operatorCommands = [
  adminCommands,
  transferCommands,
  stackCommands,
  buildpackCommands,
  recoveryCommands,
].flat();
/** All commands, in the order in which `help` lists them. */
const allCommands = [startCommand, ...operatorCommands, ...commands, completionCommand];

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

async function start({ argv, err }: Program): Promise<number> {
  if (argv.length > 1) {
    await write(
      err,
      warning(
        'The command start takes no arguments: its settings come from the environment and the configuration file.',
        `Usage: ${typedHere('start')}`,
      ),
    );
    return 2;
  }
  const server = await import('../main.ts');
  await server.main();
  return 0;
}

async function complete({ argv, out, err }: Program): Promise<number> {
  return await runOperatorCommand(
    [completionCommand],
    { argv, out: (text) => write(out, text), err: (text) => write(err, text) },
    async (_command, { positionals: [shell = ''] }) => {
      await write(out, completionScript(shell, allCommands));
      return 0;
    },
  );
}

/**
 * The words of the name of the command that a line asks to explain. Empty if the line asks for the list of all
 * commands. Null if the line does not ask for help.
 */
function helpWords(argv: readonly string[]): readonly string[] | null {
  const [first] = argv;
  if (first === undefined || first === '--help' || first === '-h') return [];
  if (first === 'help') return argv.slice(1).filter((word) => !word.startsWith('-'));
  const found = findCommand(allCommands, argv);
  try {
    const isAsked = found !== null && parseWords(found.command, found.words).flags['help'] === true;
    return isAsked ? found.command.name.split(' ') : null;
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

/** Prints help, which needs no server. */
async function help(about: readonly string[], line: OwnLine, { environment, out }: Program): Promise<number> {
  const server = await chooseServer(line, environment).catch(() => null);
  const typed = server === null ? typedHere : (words: string) => `toolforge-push ${words}`;
  await write(
    out,
    about.length === 0 ? listCommands(allCommands, typed) : describe(allCommands, about, typed),
  );
  return 0;
}

/**
 * Refuses a command that works only on the server's machine if `assertHere` finds that the person means another
 * machine. @throws DeployError `ONLY_LOCAL` if so.
 */
async function checkHere({ name }: CommandShape, line: OwnLine, { environment }: Program): Promise<void> {
  await assertHere(name, line, { environment, data: readConfig(environment).data });
}

async function administer({ argv, environment, input, out, err }: Program): Promise<number> {
  const config = readConfig(environment);
  if (config.directory === 'ldap' && !argv.includes('--help')) throw keptInLdap(config.ldap_servers);
  const addresses = addressesOf(config, config);
  const socketPath = socketOf(config.data);
  return await runAdmin({
    argv,
    directory: new DirectoryFile(join(config.data, 'directory.yaml'), () => beginIn(config.data)),
    remotes: (uid, tool) => [sshRemote(addresses, uid, tool), httpRemote(addresses, uid, tool)],
    revokeTokens: (tool, by) => revokeTokens(socketPath, tool, by),
    input: input instanceof ReadStream ? hiddenLine(input, 'password', (text) => write(err, text)) : input,
    out: (text) => write(out, text),
    err: (text) => write(err, text),
    audit: auditFile(config.data, createLog(config.log_level)),
  });
}

/**
 * Names in a data folder that only a server and `restore` make. If one of them is there, a server has started there
 * before, or will start with the data of another server.
 */
const TRACES = ['store.sqlite', 'repositories', 'releases', 'backups', 'restoring', 'restored'];

/**
 * Makes the data folder for the first start of a server, and returns true. Makes nothing and returns false if the
 * folder has one of `TRACES`.
 */
async function beginIn(data: string): Promise<boolean> {
  if (TRACES.some((name) => existsSync(join(data, name)))) return false;
  await openDataFolder(data);
  return true;
}

async function recover({ argv, environment, out, err }: Program): Promise<number> {
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

async function transfer({ argv, environment, input, out, err }: Program): Promise<number> {
  const config = readConfig(environment);
  return await runTransfer({
    ...{ argv, config, input, stdout: out, interruption },
    call: (line) => callControl({ ...line, socketPath: socketOf(config.data) }),
    out: (text) => write(out, text),
    err: (text) => write(err, text),
  });
}

async function stack({ argv, environment, out, err }: Program): Promise<number> {
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

async function buildpack({ argv, environment, out, err }: Program): Promise<number> {
  return await runBuildpackCommand({
    argv,
    config: () => readConfig(environment),
    progress: progressTo((text) => void write(out, text)),
    out: (text) => write(out, text),
    err: (text) => write(err, text),
    signal: interruption(),
  });
}

/**
 * Returns a signal that the first Ctrl-C fires, so that the command can clean up. The second ends the process. SIGTERM
 * and SIGHUP have the same effect as Ctrl-C.
 */
function interruption(): AbortSignal {
  const ended = new AbortController();
  const end = () => {
    if (ended.signal.aborted) process.exit(1);
    ended.abort(new DeployError('INTERRUPTED', 'the command was interrupted', 'Type it again.'));
  };
  // Use `on`, not `once`: while execa has children, execa ends this process at a signal if there is no other listener.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, end);
  return ended.signal;
}

/**
 * Revokes the deploy tokens of the tool in the running server: all, or only those that the user `by` made.
 *
 * @returns the text of the server, empty if `by` has made no token of the tool; null if no server is running.
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
 * Runs a command in the server of this machine, and returns what the command prints.
 *
 * @throws DeployError `NOT_DONE` if the command fails; `NO_SERVER` if no server runs; `NOT_THE_OPERATOR`
 * if the server runs as another user; `SERVER_GONE` if the server ends before it has answered.
 */
async function ask(socketPath: string, argv: readonly string[]): Promise<string> {
  const said: Uint8Array[] = [];
  const note = async (bytes: Uint8Array) => void said.push(bytes);
  const status = await callControl({ socketPath, argv, input: null, out: note, err: note });
  const text = Buffer.concat(said).toString();
  if (status === 0) return text;
  throw new DeployError('NOT_DONE', text.trim(), 'The log of the server may say more.');
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

async function command(line: OwnLine, program: Program): Promise<number> {
  const { environment, input: own, out, err } = program;
  const found = findCommand(commands, line.argv);
  if (found?.command.isForOperator === true) {
    await checkHere(found.command, line, program);
  } else {
    const server = await chooseServer(line, environment);
    if (server !== null) {
      const { runElsewhere } = await import('./client/run-elsewhere.ts');
      return await runElsewhere(server, line, program);
    }
  }
  if (found === null) {
    await write(err, unknownCommand(line.argv[0] ?? '', allCommands));
    return 2;
  }
  const argv = line.tool === null ? line.argv : withTool(commands, line.argv, line.tool);
  const sent = await withInput(commands, argv, out);
  try {
    return await callControl({
      socketPath: socketOf(readConfig(environment).data),
      argv: sent.argv,
      input: sent.input === 'own' ? own : sent.input === 'none' ? null : sent.input,
      out: (bytes) => write(out, bytes),
      err: (bytes) => write(err, bytes),
    });
  } catch (error) {
    throw sent.readError() ?? (await withRemotes(error, environment));
  }
}

if (import.meta.main) await main();
