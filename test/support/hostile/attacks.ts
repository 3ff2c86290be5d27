import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { HeldConnections, requestTo } from './connections.ts';

/** The kinds of attackers. The server gives each tool, each person and each address its own share. */
export const KINDS = ['tool', 'person', 'address'] as const;
export type Kind = (typeof KINDS)[number];

/** The server that is attacked, and what an attacker has there. */
export interface Target {
  readonly httpPort: number;
  readonly sshPort: number;
  /** The name of a live `hostileTool`. */
  readonly tool: string;
  /** The hostile person, who maintains `tool`. */
  readonly user: string;
  readonly clientEnvironment: Readonly<Record<string, string>>;
  /** Tools of the hostile person with slow builds, each with a clone that has a remote `toolforge`. */
  readonly slow: readonly { readonly tool: string; readonly folder: string }[];
  /** The attacks end by themselves after this number of seconds. */
  readonly seconds: number;
}

/** Attacks until the abort signal fires. Calls `did` each time that the attack has done something. */
type Attack = (target: Target, signal: AbortSignal, did: () => void) => Promise<void>;

/** Each attacker process has addresses of its own, because the server remembers wrong passwords for 15 minutes. */
const OWN = 1 + (process.pid % 250);
const ADDRESS = `127.0.66.${OWN}`;

export const attacks: Readonly<Record<Kind, Readonly<Record<string, Attack>>>> = {
  tool: {
    output: flooding,
    // Each visitor of the tool has an address of their own.
    'no answers': (...given) => {
      const addressOf = (index: number) => `127.2.${index >> 8}.${index & 255}`;
      return holding({ count: 1_600, path: '/never', addressOf }, ...given);
    },
    'interim answers': (...given) => holding({ count: 8, path: '/interim' }, ...given),
    'chunks of one byte': (...given) => holding({ count: 8, path: '/drip' }, ...given),
  },
  person: {
    output: flooding,
    followers,
    pushes,
    commands,
    guesses: (target, ...given) => {
      const addressOf = (index: number) => `127.3.${OWN}.${1 + (index % 250)}`;
      return guessing({ atOnce: 8, nameOf: () => target.user, addressOf }, target, ...given);
    },
  },
  address: {
    'silent http': (...given) => holding({ count: 1_900 }, ...given),
    'silent ssh': ({ sshPort, ...target }, ...given) =>
      holding({ count: 200 }, { ...target, httpPort: sshPort }, ...given),
    requests,
    pipelining: (...given) => pipelining('localhost', ...given),
    'pipelining to a tool': (target, ...given) => pipelining(hostOf(target), target, ...given),
    guesses: (...given) =>
      guessing({ atOnce: 4, nameOf: (index) => `person${index}`, addressOf: () => ADDRESS }, ...given),
  },
};

async function flooding(target: Target, signal: AbortSignal, did: () => void): Promise<void> {
  if (await ask(target, `/flood/${target.seconds}`)) did();
  await end(signal);
  await ask(target, '/calm');
}

interface Held {
  readonly count: number;
  /** The path of the hostile tool to ask for. If not set, the connection stays silent. */
  readonly path?: string;
  readonly addressOf?: (index: number) => string;
}

/** Keeps connections open, and slowly replaces those that the server closes. */
async function holding(
  { count, path, addressOf = () => ADDRESS }: Held,
  target: Pick<Target, 'httpPort' | 'tool'>,
  signal: AbortSignal,
  did: () => void,
): Promise<void> {
  using held = new HeldConnections(target.httpPort);
  const text = path === undefined ? '' : requestTo(hostOf(target), path);
  const open = async (most: number) => {
    const missing = Math.min(most, count - (held.sockets.length - held.closed));
    const opened = Array.from({ length: missing }, () =>
      held.open(1, { address: addressOf(held.sockets.length), text }),
    );
    await Promise.all(opened);
  };
  await open(count);
  did();
  while (!signal.aborted) {
    await pause(250, signal);
    await open(10);
  }
}

/** Sends requests as fast as the server answers, 100 at once, each on a new connection. */
async function requests({ httpPort: port }: Target, signal: AbortSignal, did: () => void): Promise<void> {
  const options = { port, path: '/', headers: { host: 'localhost' }, localAddress: ADDRESS };
  const one = async () => {
    while (!signal.aborted) {
      if ((await statusOf(options, signal)) > 0) did();
      else await pause(20, signal);
    }
  };
  await Promise.all(Array.from({ length: 100 }, one));
}

/** Sends requests on 10 connections without waiting for the answers. */
async function pipelining(
  host: string,
  { httpPort }: Target,
  signal: AbortSignal,
  did: () => void,
): Promise<void> {
  const text = requestTo(host, '/').repeat(400);
  const one = async () => {
    while (!signal.aborted) {
      const socket = connect({ port: httpPort, host: '127.0.0.1', localAddress: ADDRESS });
      const closed = once(socket, 'close');
      const leave = () => socket.destroy();
      signal.addEventListener('abort', leave, { once: true });
      socket.on('error', () => {});
      socket.on('data', did);
      socket.on('connect', () => socket.write(text)).on('drain', () => socket.write(text));
      await closed.catch(() => {});
      signal.removeEventListener('abort', leave);
      await pause(20, signal);
    }
  };
  await Promise.all(Array.from({ length: 10 }, one));
}

interface Guesses {
  readonly atOnce: number;
  readonly nameOf: (index: number) => string;
  readonly addressOf: (index: number) => string;
}

async function guessing(
  { atOnce, nameOf, addressOf }: Guesses,
  { httpPort }: Target,
  signal: AbortSignal,
  did: () => void,
): Promise<void> {
  let index = 0;
  const one = async () => {
    while (!signal.aborted) {
      const credentials = Buffer.from(`${nameOf(index)}:a-wrong-password`).toString('base64');
      const headers = { host: 'localhost', authorization: `Basic ${credentials}` };
      const path = '/hello.git/info/refs?service=git-upload-pack';
      const status = await statusOf(
        { port: httpPort, localAddress: addressOf(index), path, headers },
        signal,
      );
      index += 1;
      if (status === 401) did();
      // A refusal costs the server little, so do not ask again at once.
      else await pause(100, signal);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

/** Runs SSH commands, three at once, each with a login of its own. */
async function commands(target: Target, signal: AbortSignal, did: () => void): Promise<void> {
  const one = async () => {
    while (!signal.aborted) if ((await codeOf(command(target, 'tools'))) === 0) did();
  };
  await Promise.all([one(), one(), one()]);
}

/** Starts eight readers of the tool's log: four read everything, and four stop reading after a second. */
async function followers(target: Target, signal: AbortSignal, did: () => void): Promise<void> {
  const children = Array.from({ length: 8 }, () => command(target, `logs ${target.tool} -f`));
  await pause(1000, signal);
  for (const child of children.slice(4)) child.kill('SIGSTOP');
  for (const { exitCode } of children) if (exitCode === null) did();
  await end(signal);
  for (const child of children) child.kill('SIGKILL');
}

/** Pushes more tools than can be deployed at once, and cancels all deployments at the end. */
async function pushes(target: Target, signal: AbortSignal, did: () => void): Promise<void> {
  const one = async ({ tool, folder }: Target['slow'][number]) => {
    const push = start(['git', 'push', 'toolforge', 'main'], target, folder);
    // The first output shows that the server has the push.
    push.stderr?.once('data', did).resume();
    await end(signal);
    while (push.exitCode === null) {
      await codeOf(command(target, `cancel ${tool}`));
      await wait(200);
    }
  };
  await Promise.all(target.slow.map(one));
}

function command(target: Target, words: string): ChildProcess {
  const ssh = (target.clientEnvironment['GIT_SSH_COMMAND'] ?? '').split(' ');
  return start([...ssh, '-p', String(target.sshPort), `${target.user}@127.0.0.1`, words], target);
}

function start([file = '', ...args]: readonly string[], target: Target, cwd?: string): ChildProcess {
  const env = target.clientEnvironment;
  return spawn(file, args, { env, stdio: ['ignore', 'ignore', 'pipe'], ...(cwd !== undefined && { cwd }) });
}

async function codeOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
}

/**
 * Asks up to 50 times, because other attacks can take all requests that the tool may have at once. @returns true if the
 * tool answered.
 */
async function ask(target: Target, path: string): Promise<boolean> {
  const options = { port: target.httpPort, path, headers: { host: hostOf(target) } };
  for (let count = 0; count < 50; count += 1) {
    if ((await statusOf(options, AbortSignal.timeout(5_000))) === 200) return true;
    await wait(100);
  }
  return false;
}

/** Sends a request on a new connection. @returns the status of the answer, or 0 if the server did not answer. */
function statusOf(
  options: {
    readonly port: number;
    readonly path: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly localAddress?: string;
  },
  signal: AbortSignal,
): Promise<number> {
  return new Promise((resolve) => {
    const asked = request({ ...options, host: '127.0.0.1', agent: false, signal });
    asked.once('response', (answer) => {
      answer.once('error', () => {});
      answer.resume().once('close', () => resolve(answer.statusCode ?? 0));
    });
    asked.once('error', () => resolve(0)).end();
  });
}

function hostOf({ tool }: Pick<Target, 'tool'>): string {
  return `${tool}.localhost`;
}

async function end(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await wait(milliseconds, null, { signal }).catch(() => {});
}
