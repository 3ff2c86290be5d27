import { addAbortListener } from 'node:events';
import type { Transform } from 'node:stream';
import { authorize } from '../../auth/authorize.ts';
import type { Directory } from '../../auth/directory.ts';
import type { Config } from '../../config.ts';
import { KeyedConcurrencyLimit } from '../../core/concurrency/concurrency-limit.ts';
import { DeployError, systemCode } from '../../core/errors.ts';
import { gitPriorities } from '../../core/fair-share/priorities.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import type { Principal } from '../../core/types.ts';
import { LOW_PRIORITY } from '../../git/git-environment.ts';
import { gitProtocol, type PackServices, type PushSession } from '../../git/pack-services.ts';
import { answerError, type Exchange, reportBug } from '../answer.ts';
import { atMost, decodersOf, sendBody } from '../body.ts';
import type { Route } from '../routes.ts';
import { HeldOutput } from './held-output.ts';
import { type GitRun, type GitService, ServedRepository } from './served-repository.ts';

export interface GitServing {
  readonly directory: Directory;
  readonly packServices: PackServices;
  readonly config: Pick<Config, 'pack_size'>;
  /** Limits the simultaneous answers to `info/refs`. */
  readonly advertisements: Advertisements;
}

type GitRoute = Extract<Route, { kind: 'git' | 'advertisement' }>;

/** The most simultaneous answers to `info/refs` for one password or token. Each starts a git. Further requests wait. */
const MAX_ADVERTISEMENTS = 4;
/** At most this many requests for `info/refs` with the same password or token wait. The server refuses further ones. */
const MAX_ADVERTISEMENTS_WAITING = 40;

/**
 * The most simultaneous answers to `info/refs` for one person, who may have many tokens. Of further requests of that
 * person, `MAX_ADVERTISEMENTS_WAITING_OF_PERSON` may wait.
 */
const MAX_ADVERTISEMENTS_OF_PERSON = 16;
const MAX_ADVERTISEMENTS_WAITING_OF_PERSON = 160;

/** Limits the simultaneous answers to `info/refs` for each password or token, and for each person. */
export class Advertisements {
  readonly #credentials = new KeyedConcurrencyLimit(MAX_ADVERTISEMENTS, {
    most: MAX_ADVERTISEMENTS_WAITING,
    refusal: tooManyQuestions,
  });
  readonly #persons = new KeyedConcurrencyLimit(MAX_ADVERTISEMENTS_OF_PERSON, {
    most: MAX_ADVERTISEMENTS_WAITING_OF_PERSON,
    refusal: tooManyQuestions,
  });

  /**
   * Does the work as soon as both the credential and the person have a free place.
   *
   * @throws DeployError `TOO_MANY_FETCHES` if too many wait; the signal's reason if the signal fires before the work
   * has begun.
   */
  run({ uid, credential }: Principal, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const asPerson = () => this.#persons.run(uid, work, signal);
    return this.#credentials.run(`${uid} ${credential}`, asPerson, signal);
  }
}

function tooManyQuestions(): DeployError {
  return new DeployError(
    'TOO_MANY_FETCHES',
    'too many clones, fetches and pushes of your user, or with this password or token, are starting at the moment',
    'Wait until some of them have started, and try again.',
  );
}

/** The limit for the body of a fetch request, after decompression. git's own http-backend allows 10 MiB. */
const FETCH_BYTES = 32 * 1024 * 1024;

/**
 * The limit for the body of a push, as a multiple of the largest accepted pack. The server continues to read a push
 * after it has refused the push, because git shows the reason only after it has sent everything.
 */
const MAX_OF_A_PUSH = 2;

/**
 * The server drops a client if no byte moves in either direction for this long. git itself sends keep-alives every 5 s.
 */
const SILENCE_MS = 10 * 60 * 1000;

/**
 * Serves one request of git's smart protocol to a logged-in user.
 *
 * @throws DeployError for refusals before git has sent anything.
 * @see https://git-scm.com/docs/http-protocol
 */
export async function serveGit(
  exchange: Exchange,
  route: GitRoute,
  principal: Principal,
  { directory, packServices, config, advertisements }: GitServing,
): Promise<void> {
  const { response, signal } = exchange;
  const { service } = route;
  const tool = nameOf(route.name);
  await authorize(directory, principal, tool, service === 'receive-pack' ? 'deploy' : 'read', signal);
  response.setTimeout(SILENCE_MS, () => response.destroy());
  if (route.kind === 'advertisement') {
    const work = () => advertise(exchange, { tool, service, principal }, packServices);
    return await advertisements.run(principal, work, signal);
  }
  requireType(exchange, service);
  if (service === 'receive-pack') {
    const session = () => packServices.receive({ tool, principal, hasAdvertisement: false });
    return receive(exchange, session, config.pack_size);
  }
  return upload(exchange, { tool, principal }, packServices);
}

function nameOf(text: string): ToolName {
  const tool = toolName(text);
  if (tool !== null) return tool;
  throw new DeployError(
    'NO_ACCESS',
    `${JSON.stringify(text.slice(0, 80))} cannot be the name of a tool`,
    'The name of a tool has only lower-case letters, digits, - and _. Check the address (git remote -v).',
  );
}

/** Requires git's content type, because a page of another site cannot send it without a CORS preflight. */
function requireType({ request }: Exchange, service: GitService): void {
  const expected = `application/x-git-${service}-request`;
  if (request.headers['content-type']?.toLowerCase() === expected) return;
  throw new DeployError(
    'UNSUPPORTED_TYPE',
    `this address only takes requests with the Content-Type ${expected}`,
    'Use git to clone, fetch or push at this address.',
  );
}

async function advertise(
  exchange: Exchange,
  asked: { readonly tool: ToolName; readonly service: GitService; readonly principal: Principal },
  packServices: PackServices,
): Promise<void> {
  const { tool, service, principal } = asked;
  const { request } = exchange;
  const priority = gitPriorities.enter(principal.uid);
  using _leaving = { [Symbol.dispose]: priority.leave };
  const { folder, environment } = await (service === 'receive-pack'
    ? packServices.advertise(tool)
    : packServices.upload(tool, gitProtocol(request.headers['git-protocol']), null));
  const served = ServedRepository.open({
    folder,
    environment: { ...environment, ...(priority.isLow ? LOW_PRIORITY : {}) },
  });
  const outlet = outletFor(exchange, served.advertise(service), `application/x-git-${service}-advertisement`);
  outlet.release();
  finish(exchange, await outlet.ended);
}

async function upload(
  exchange: Exchange,
  { tool, principal }: { readonly tool: ToolName; readonly principal: Principal },
  packServices: PackServices,
): Promise<void> {
  const { request, response, log } = exchange;
  const decoders = decodersOf(request);
  const protocol = gitProtocol(request.headers['git-protocol']);
  const session = await packServices.upload(tool, protocol, principal);
  try {
    const served = ServedRepository.open(session);
    const output = atMost(Number.POSITIVE_INFINITY);
    const outlet = outletFor(exchange, output, 'application/x-git-upload-pack-result');
    const git = served.run('upload-pack', output);
    response.once('close', () => git.kill());
    using _ending = session.lost === null ? null : addAbortListener(session.lost, () => response.destroy());
    if (response.destroyed) git.kill();
    await converse(exchange, { outlet, git, stages: [...decoders, atMost(FETCH_BYTES)], notice: () => null });
    const exit = await git.exited;
    if (exit.code !== 0) log.debug({ tool, service: 'upload-pack', ...exit }, 'git ended badly');
  } finally {
    session.close();
  }
}

async function receive(
  exchange: Exchange,
  open: () => Promise<PushSession>,
  packBytes: number,
): Promise<void> {
  const { request, log } = exchange;
  const decoders = decodersOf(request);
  const session = await open();
  let wasKilled = false;
  try {
    const served = ServedRepository.open(session);
    const outlet = outletFor(exchange, session.outgoing, 'application/x-git-receive-pack-result');
    const git = served.run('receive-pack', session.outgoing);
    void git.exited.then(({ code }) => {
      wasKilled = code === null;
    });
    const stages = [...decoders, atMost(MAX_OF_A_PUSH * packBytes), session.incoming];
    await converse(exchange, { outlet, git, stages, notice: session.notice });
    const exit = await git.exited;
    if (exit.code !== 0) log.debug({ push: session.id, service: 'receive-pack', ...exit }, 'git ended badly');
  } finally {
    session.close(wasKilled);
  }
}

function outletFor(
  { response }: Exchange,
  source: Transform | ReturnType<ServedRepository['advertise']>,
  type: string,
) {
  return new HeldOutput(source, response, () =>
    response.writeHead(200, {
      'Content-Type': type,
      'Cache-Control': 'no-cache, max-age=0, must-revalidate',
      Expires: 'Fri, 01 Jan 1980 00:00:00 GMT',
      Pragma: 'no-cache',
      'X-Accel-Buffering': 'no',
      'X-Content-Type-Options': 'nosniff',
    }),
  );
}

interface Conversation {
  readonly outlet: HeldOutput;
  readonly git: GitRun;
  /** The streams through which the body of the request passes to git. */
  readonly stages: readonly Transform[];
  /**
   * Call this when git has ended. If git printed nothing and the server knows why, returns the reason, in words for the
   * client. Otherwise returns null.
   */
  readonly notice: () => string | null;
}

/**
 * Sends the body to git and git's output to the client. Resolves when git has ended.
 *
 * @throws DeployError `BROKEN_BODY` if git has printed nothing, and has failed or `notice` returns a reason.
 */
async function converse(exchange: Exchange, { outlet, git, stages, notice }: Conversation): Promise<void> {
  const { request, response } = exchange;
  const [first, ...rest] = stages;
  if (first === undefined) throw new Error('a body needs a stage that bounds it');
  try {
    await sendBody(request, response, [first, ...rest, git.input]);
  } catch (error) {
    outlet.discard();
    answerError(exchange, isOfBody(error) ? brokenBody(error) : error);
    await outlet.ended;
    return;
  }
  outlet.release();
  const failure = await outlet.ended;
  const exit = await git.exited;
  const reason = notice();
  if (failure === null && outlet.isSilent && (exit.code !== 0 || reason !== null)) {
    throw new DeployError(
      'BROKEN_BODY',
      reason?.trimEnd() ?? 'git does not understand the request',
      reason === null ? 'Try again with a newer git.' : 'Nothing has changed.',
    );
  }
  finish(exchange, failure);
}

/** Ends the answer, or the connection if git's output is incomplete. @throws `failure` if nothing was sent. */
function finish(exchange: Exchange, failure: Error | null): void {
  const { response, log } = exchange;
  if (response.destroyed) return;
  if (failure === null) {
    response.end();
    return;
  }
  if (!response.headersSent) throw failure;
  reportBug(log, failure);
  response.destroy();
}

function isOfBody(error: unknown): boolean {
  return systemCode(error)?.startsWith('Z_') === true;
}

function brokenBody(cause: unknown): DeployError {
  return new DeployError(
    'BROKEN_BODY',
    'the gzip data of the request body is damaged or cut off',
    'Send the request again.',
    { cause },
  );
}
