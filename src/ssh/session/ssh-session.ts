import type { Socket } from 'node:net';
import type { Connection, ServerChannel, Session } from 'ssh2';
import parseWords from 'string-argv';
import { authorize } from '../../auth/authorize.ts';
import type { Directory } from '../../auth/directory.ts';
import { assertKey } from '../../auth/reauthorize.ts';
import type { CommandLine, Services } from '../../cli/command.ts';
import { takesTerminal } from '../../cli/command-table.ts';
import { DeployError } from '../../core/errors.ts';
import { requestPace } from '../../core/fair-share/request-pace.ts';
import type { Shares } from '../../core/fair-share/shares.ts';
import type { Log } from '../../core/log/log.ts';
import { sentence } from '../../core/text/sentence.ts';
import type { Principal } from '../../core/types.ts';
import { gitProtocol, type PackServices } from '../../git/pack-services.ts';
import type { Terminal } from '../../run/runtime.ts';
import { ClientStreams } from './client-streams.ts';
import { receivePack, uploadPack } from './git-session.ts';
import { isGitCommand, parseExec } from './parse-exec.ts';
import { answerTo, asErrorPacket, asWarning } from './ssh-answers.ts';
import { TerminalRequest } from './ssh-terminal.ts';

/**
 * A person gets another place for a command only if they hold fewer places than a tenth of the free ones. So a person
 * who is alone gets at most 46 of 500 places.
 */
const WEIGHT_OF_PERSON = 0.1;

export interface SessionServices {
  readonly directory: Directory;
  readonly packServices: PackServices;
  readonly services: Services;
  readonly runCommand: (line: CommandLine) => Promise<number>;
  readonly log: Log;
  /**
   * A client counts as disconnected if a write to it does not end within this many milliseconds. During a push or a
   * fetch, it also counts as disconnected if neither side sends anything for so long.
   */
  readonly stallMs: number;
  /** All connections share these places for running commands. Clones and pushes have their own limits. */
  readonly commands: Shares;
}

export interface SessionContext extends SessionServices {
  readonly principal: Principal;
  readonly connection: { readonly client: Connection; readonly socket: Socket };
  /** Fires during a stop of the server, when running sessions have had their time to end. */
  readonly signal: AbortSignal;
  /** Drops a client that reads nothing: ends its connection, or only this session if other sessions run. */
  readonly drop: (client: ClientStreams, why: string) => void;
  /** Called when the server begins to answer a command. `done` resolves after the answer, and never rejects. */
  readonly onRun: (client: ClientStreams, done: Promise<void>) => void;
}

/**
 * Serves one SSH session: a single command, or the greeting for a plain `ssh HOST`. Only the commands `run` and `exec`
 * get a terminal. Requests for a subsystem, an agent or X11 have no listener here, so ssh2 refuses them.
 */
export function serveSession(session: Session, context: SessionContext): void {
  let protocol: string | null = null;
  let client: ClientStreams | null = null;
  const request = new TerminalRequest(session);
  const serve = (accept: () => ServerChannel | undefined, command: string | null) => {
    const terminal = request.decide(command !== null && canUseTerminal(command));
    const channel = accept();
    // Do nothing if ssh2 gives no channel, because the client has already closed its side.
    if (channel === undefined) return;
    client = new ClientStreams(channel, context.connection, context.stallMs);
    client.isTerminal = terminal !== null;
    context.onRun(client, run(context, client, command, { protocol: () => protocol, terminal }));
  };
  session.on('env', (accept, reject, { key, val }: { key: string; val: string }) => {
    const value = key === 'GIT_PROTOCOL' ? gitProtocol(val) : null;
    protocol = value ?? protocol;
    if (value === null) reject?.();
    else accept?.();
  });
  session.on('exec', (accept, _reject, { command }) => serve(accept, command));
  session.on('shell', (accept) => serve(accept, null));
  session.on('close', () => client?.leave());
  session.on('error', () => client?.leave());
}

/** The settings that the client sent before its command: the git protocol version and the terminal. */
interface Asked {
  readonly protocol: () => string | null;
  readonly terminal: Terminal | null;
}

/** Answers one command and sends its exit status. @param command - Null if the client asked for a shell. */
async function run(
  context: SessionContext,
  client: ClientStreams,
  command: string | null,
  asked: Asked,
): Promise<void> {
  try {
    await client.finish(await answer(context, client, command, asked));
  } catch (error) {
    await refuse(context, client, command, error);
  }
}

async function answer(
  context: SessionContext,
  client: ClientStreams,
  command: string | null,
  { protocol, terminal }: Asked,
): Promise<number> {
  const { directory, packServices, principal, services, log } = context;
  const signal = AbortSignal.any([client.gone, context.signal]);
  using held = new DisposableStack();
  if (command === null || !isGitCommand(command)) held.defer(takePlace(context));
  await requestPace.turn(principal.uid, signal);
  // Check the key once more, because it may have been removed since the connection began.
  await assertKey(directory, principal, signal);
  if (command === null) {
    await client.out(await greeting(context, signal));
    return 0;
  }
  const request = parseExec(command);
  if (request.kind === 'command') {
    return await context.runCommand({
      services,
      principal,
      argv: request.argv,
      input: client.input(),
      out: (text) => client.out(text),
      err: (text) => (typeof text === 'string' ? client.err(text) : client.errors(text)),
      ...(terminal === null ? {} : { terminal }),
      signal,
      onRefusal: (code, message) => {
        if (code === 'FOLLOWER_STALLED') context.drop(client, sentence(message));
      },
    });
  }
  const { service, tool } = request;
  await authorize(directory, principal, tool, service === 'receive-pack' ? 'deploy' : 'read', signal);
  const git = { tool, principal, packServices, client, log };
  return service === 'receive-pack' ? await receivePack(git) : await uploadPack(git, protocol());
}

/**
 * Takes a place for a command.
 *
 * @returns a function that gives the place back.
 * @throws DeployError `TOO_MANY_COMMANDS` if the person or the server has no place left.
 */
function takePlace({ commands, principal: { uid } }: SessionContext): () => void {
  const taken = commands.take({ [uid]: WEIGHT_OF_PERSON });
  if (taken.kind === 'taken') return taken.giveBack;
  throw new DeployError(
    'TOO_MANY_COMMANDS',
    `${taken.holder === null ? 'this server' : `the user ${taken.holder}`} has too many commands under way over SSH`,
    taken.holder === null
      ? 'Wait until some commands over SSH have ended, and try again.'
      : 'Wait until some of your commands over SSH have ended, or end one of them, and try again.',
  );
}

async function refuse(
  { log, principal }: SessionContext,
  client: ClientStreams,
  command: string | null,
  error: unknown,
): Promise<void> {
  const isGit = command !== null && isGitCommand(command);
  const answer = answerTo(error);
  // The log gets only the command's first word, because config vars may follow.
  const word = (command ?? 'shell').trim().split(/\s/, 1)[0]?.slice(0, 32);
  if (client.gone.aborted)
    log.info({ uid: principal.uid, command: word, err: error }, 'ssh client left during a command');
  else if (answer.id !== null) {
    log.error({ id: answer.id, uid: principal.uid, command: word, err: error }, 'session broke');
  }
  try {
    if (isGit && client.isUntouched) await client.out(asErrorPacket(answer));
    else await client.err(asWarning(answer));
    await client.finish(1);
  } catch (cause) {
    log.error({ uid: principal.uid, command: word, err: cause }, 'session broke');
    client.leave();
  }
}

/** True if the command can use a terminal. Git commands cannot. */
function canUseTerminal(command: string): boolean {
  return !isGitCommand(command) && takesTerminal(parseWords(command.trim()));
}

/**
 * Returns the answer to `ssh HOST` without a command. It names the user, the user's tools, and the commands to type.
 */
async function greeting(
  { directory, principal, services }: SessionContext,
  signal: AbortSignal,
): Promise<string> {
  const address = services.addresses.ssh;
  const tools = await directory.toolsOf(principal.uid, signal);
  const { host, port } = new URL(address.includes('://') ? address : `ssh://${address}`);
  const bare = port === '' ? host : host.slice(0, -port.length - 1);
  const ssh = `ssh ${port === '' ? '' : `-p ${port} `}${principal.uid}@${bare.replace(/^\[|\]$/g, '')}`;
  return [
    `Hello ${principal.uid}, you are logged in with ${principal.credential}.`,
    tools.length === 0 ? 'You maintain no tool here.' : `Your tools: ${tools.join(', ')}.`,
    '',
    'There is no shell here. To deploy a tool:',
    `    git push ssh://${principal.uid}@${host}/${tools[0] ?? 'TOOL'}.git ${services.deployBranch}`,
    'All commands:',
    `    ${ssh} help`,
    '',
  ].join('\n');
}
