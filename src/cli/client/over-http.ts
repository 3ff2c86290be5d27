import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { getCACertificates } from 'node:tls';
import { DeployError, systemCode } from '../../core/errors.ts';
import { request, requestTls } from '../../core/network/node-http.ts';
import { clean } from '../../core/progress.ts';
import { warning } from '../command-line/printing.ts';
import { requestLine } from '../control/control-protocol.ts';
import { decodeFrames, FRAMES_TYPE } from '../control/frames.ts';
import { git, type HttpServer } from './git-remote.ts';

export interface HttpCall {
  readonly environment: NodeJS.ProcessEnv;
  readonly argv: readonly string[];
  /** Standard input for the command. Null if the command has none. */
  readonly input: AsyncIterable<Uint8Array> | null;
  readonly out: (bytes: Uint8Array) => Promise<void>;
  readonly err: (bytes: Uint8Array) => Promise<void>;
}

/** If something else than the server answers, for example a proxy, at most this many bytes of its answer are shown. */
const MAX_SHOWN_BYTES = 4096;

/**
 * Runs a command on another server over HTTP. The user and password come from the address, or from `git credential`,
 * which may ask the person.
 *
 * @returns the exit status of the command, or 1 if the server refuses the request.
 * @throws DeployError `NO_CREDENTIALS` if git has no password for the server; `NO_ANSWER` if the server cannot be
 * reached; `SERVER_GONE` if the connection ends before the command has ended.
 */
export async function runOverHttp(server: HttpServer, call: HttpCall): Promise<number> {
  const login = await loginFor(server, call.environment);
  const response = await ask(server, login, call);
  if (response.statusCode === 200 && response.headers['content-type'] === FRAMES_TYPE) {
    await login.tell('approve');
    return await readFrames(response, server, call);
  }
  if (response.statusCode === 401) await login.tell('reject');
  await call.err(Buffer.from(warning(...(await refusalOf(response, server)))));
  response.destroy();
  return 1;
}

async function readFrames(response: IncomingMessage, server: HttpServer, call: HttpCall): Promise<number> {
  try {
    for await (const { kind, payload } of decodeFrames(response)) {
      if (kind === 'exit') return payload[0] ?? 1;
      await (kind === 'out' ? call.out(payload) : call.err(payload));
    }
  } catch (cause) {
    // If the error is not about the connection, throw it unchanged. For example, the reader may have closed the output.
    if (response.errored !== cause) throw cause;
  }
  throw new DeployError(
    'SERVER_GONE',
    `the connection to ${server.url.host} ended before the command did`,
    '`ps TOOL` shows whether a deployment still runs.',
  );
}

/** The lines to show for an answer that did not come from the command, such as the refusal of a password. */
async function refusalOf(response: IncomingMessage, server: HttpServer): Promise<string[]> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_SHOWN_BYTES) break;
  }
  const isText = response.headers['content-type']?.startsWith('text/plain') === true;
  const text = isText ? clean(Buffer.concat(chunks).toString().slice(0, MAX_SHOWN_BYTES)).trim() : '';
  if (text !== '') return text.split('\n').map((line) => line.replace(/^ ! {5}/, ''));
  return [
    `${server.url.host} answered with status ${response.statusCode}, and not as a toolforge-push server does.`,
    `The command was sent to ${server.address}, the git remote ${server.remote} of this folder.`,
  ];
}

/** Sends the command. @throws DeployError `NO_ANSWER` if the server cannot be reached. */
async function ask(server: HttpServer, login: Login, { argv, input }: HttpCall): Promise<IncomingMessage> {
  const headers: OutgoingHttpHeaders = {
    Authorization: `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`,
    Accept: FRAMES_TYPE,
    'Content-Type': 'text/plain; charset=utf-8',
  };
  const options = { method: 'POST', headers, agent: false } as const;
  // Trust the certificate authorities of this machine too, as git does.
  const asked =
    server.url.protocol === 'https:'
      ? requestTls(server.url, { ...options, ca: [...getCACertificates(), ...getCACertificates('system')] })
      : request(server.url, options);
  try {
    const answered = once(asked, 'response') as Promise<[IncomingMessage]>;
    asked.write(requestLine(argv));
    // The input is not awaited, because the server may answer without reading it.
    void sendInput(input, asked).catch(() => undefined);
    const [response] = await answered;
    // Ignore this error: the server may close the connection while input is still sent, and the answer says how the
    // command ended.
    asked.on('error', () => undefined);
    return response;
  } catch (cause) {
    throw new DeployError(
      'NO_ANSWER',
      `${server.url.host} could not be reached (${systemCode(cause) ?? 'no answer'})`,
      `The command was to run at ${server.address}, the git remote ${server.remote} of this folder. --local asks the server of this machine.`,
      { cause },
    );
  }
}

async function sendInput(input: HttpCall['input'], asked: Writable): Promise<void> {
  if (input === null) asked.end();
  else await pipeline(input, asked);
}

interface Login {
  readonly user: string;
  readonly password: string;
  /** Tells git's credential helpers whether the password was right. */
  readonly tell: (verdict: 'approve' | 'reject') => Promise<void>;
}

/**
 * The user and password in the address, or those that `git credential` returns. @throws DeployError `NO_CREDENTIALS` if
 * git has none for this server.
 */
async function loginFor(server: HttpServer, environment: NodeJS.ProcessEnv): Promise<Login> {
  const { user, password, url } = server;
  if (user !== null && password !== null) return { user, password, tell: async () => undefined };
  const protocol = url.protocol.replace(':', '');
  const description = [
    `protocol=${protocol}`,
    `host=${url.host}`,
    `path=${url.pathname.replace(/^\//, '').replace(/-\/command$/, `${server.tool}.git`)}`,
    ...(user === null ? [] : [`username=${user}`]),
  ];
  const filled = await git(environment, ['credential', 'fill'], `${description.join('\n')}\n\n`);
  const fields = new Map(
    filled?.split('\n').map((line): [string, string] => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
  const [name, secret] = [fields.get('username'), fields.get('password')];
  // Check the host, because the password of another host must not be sent to this one.
  const isForHere = fields.get('protocol') === protocol && fields.get('host') === url.host;
  if (filled === null || name === undefined || secret === undefined || !isForHere)
    throw new DeployError(
      'NO_CREDENTIALS',
      `git has no password for ${url.host}`,
      'Type the command in a terminal, where git can ask for the password, or set up a credential helper: https://git-scm.com/docs/gitcredentials',
    );
  return {
    user: name,
    password: secret,
    tell: async (verdict) => void (await git(environment, ['credential', verdict], `${filled}\n\n`)),
  };
}
