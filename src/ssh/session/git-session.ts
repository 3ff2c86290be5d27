import { addAbortListener } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../../core/log/log.ts';
import type { ToolName } from '../../core/names.ts';
import type { Principal } from '../../core/types.ts';
import { type GitProcess, pump, startGit } from '../../git/git-process.ts';
import type { FetchSession, PackServices, PushSession } from '../../git/pack-services.ts';
import type { ClientStreams } from './client-streams.ts';
import { answerTo, asWarning } from './ssh-answers.ts';

/**
 * How long a client may continue to send a push that the server has already answered, for example refused. The client
 * reads the answer only after it has sent its whole pack.
 */
const LATE_INPUT_MS = 60_000;
/** How many seconds a client may be silent before git upload-pack ends. */
const UPLOAD_TIMEOUT_S = 600;
/**
 * How the last words of git upload-pack begin if it refuses a request of its client.
 *
 * @see https://git-scm.com/docs/protocol-v2
 */
const REFUSALS = [
  'unexpected line',
  'unknown capability',
  'invalid command',
  'no command requested',
  "command '.*' requested",
  'expected flush',
  'mismatched object format',
  'invalid (?:shallow|deepen)',
  'protocol error',
  '(?:git )?upload-pack: (?!unable|git-pack-objects)',
  'the remote end hung up',
];
const REFUSAL = new RegExp(`^fatal: ((?:${REFUSALS.join('|')}).*)$`, 'im');
/** How many characters of a refusal the client gets. A refusal can repeat a long line of the client. */
const MAX_REFUSAL = 200;

export interface GitSession {
  readonly tool: ToolName;
  readonly principal: Principal;
  readonly packServices: PackServices;
  readonly client: ClientStreams;
  readonly log: Log;
}

/**
 * Serves a push until git has ended and the result is known: copies bytes from the client to git and back. If the
 * client disconnects, git gets the end of its input, and everything else continues.
 *
 * @returns the exit status for the client.
 */
export async function receivePack(git: GitSession): Promise<number> {
  const { client, packServices, principal, tool } = git;
  const session = await packServices.receive({ tool, principal, hasAdvertisement: true });
  client.isSilenceStall = true;
  const isAllIn = pump(client.input(), session.incoming).catch(() => undefined);
  const result = await converse(git, session);
  if (result.notice !== null) await client.err(result.notice);
  const late = new AbortController();
  const limit = AbortSignal.any([late.signal, client.gone]);
  await Promise.race([isAllIn, delay(LATE_INPUT_MS, undefined, { ref: false, signal: limit })]).catch(
    () => undefined,
  );
  late.abort();
  return result.status;
}

async function converse(
  git: GitSession,
  session: PushSession,
): Promise<{ status: number; notice: string | null }> {
  let wasKilled = false;
  try {
    const child = startGit(['receive-pack', session.folder], session.environment);
    pump(session.incoming, child.stdin).catch((error: unknown) => {
      git.log.info({ tool: git.tool, deployment: session.id, err: error }, 'input of a push ended early');
    });
    const results = await Promise.allSettled([
      child.status,
      pump(child.stdout, session.outgoing),
      forward(session.outgoing, git.client),
    ]);
    const [ended] = results;
    wasKilled = ended.status === 'fulfilled' && ended.value === null;
    const failure = results.find((result) => result.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
    const status = await child.status;
    const told = session.exitStatus();
    const notice = session.notice();
    // If `notice` tells the client what happened, the operator needs no log line.
    const problem = notice === null ? report(git, child, status) : null;
    // Return the exit status that matches the answer to the client (`told`), if there is one. git's own status may
    // differ, for example if git was killed after it had stored everything.
    return { status: told ?? status ?? 1, notice: notice ?? (told === null ? problem : null) };
  } finally {
    session.close(wasKilled);
  }
}

/** Serves a clone or fetch. Ends git if the client disconnects. @returns the exit status for the client. */
export async function uploadPack(git: GitSession, protocol: string | null): Promise<number> {
  const { client, packServices, principal, tool } = git;
  const session = await packServices.upload(tool, protocol, principal);
  client.isSilenceStall = true;
  try {
    if (client.gone.aborted) return 1;
    return await fetchFrom(git, session);
  } finally {
    session.close();
  }
}

async function fetchFrom(git: GitSession, { folder, environment, lost }: FetchSession): Promise<number> {
  const { client } = git;
  const args = ['upload-pack', '--strict', `--timeout=${UPLOAD_TIMEOUT_S}`, folder];
  const child = startGit(args, environment);
  using _killing = addAbortListener(client.gone, () => child.kill());
  using _ending = lost === null ? null : addAbortListener(lost, () => child.kill());
  // Do not wait for the end of the client's input, because the client may keep it open after git has ended.
  pump(client.input(), child.stdin).catch(() => undefined);
  const [status] = await Promise.all([child.status, forward(child.stdout, client)]);
  // If a signal has ended git, such as at the limit of its processor time, end the programs that it has started, too.
  if (status === null) child.kill();
  lost?.throwIfAborted();
  const problem = reportRefusal(git, child, status) ?? report(git, child, status);
  if (problem !== null) await client.err(problem);
  return status ?? 1;
}

async function forward(source: AsyncIterable<Uint8Array>, client: ClientStreams): Promise<void> {
  for await (const chunk of source) await client.out(chunk);
}

/**
 * Logs that git upload-pack has refused a request of the client, such as one that breaks git's protocol.
 *
 * @returns the text to tell the client. Null if git has ended for another reason.
 */
function reportRefusal(git: GitSession, child: GitProcess, status: number | null): string | null {
  const [, refusal] = (status === 128 && REFUSAL.exec(child.stderr())) || [];
  if (refusal === undefined) return null;
  const facts = { tool: git.tool, uid: git.principal.uid, status, stderr: child.stderr() };
  git.log.info(facts, 'git refused the request of a client');
  return asWarning({
    message: 'The git client sent a request that this server does not accept.',
    hint: `The server's git says: ${refusal.slice(0, MAX_REFUSAL)}`,
    id: null,
  });
}

/** Logs that git failed. @returns the text to tell the client. Null if git has succeeded. */
function report(git: GitSession, child: GitProcess, status: number | null): string | null {
  if (status === 0) return null;
  const answer = answerTo(new Error('git failed'));
  const isClientGone = git.client.gone.aborted;
  const facts = { id: answer.id, tool: git.tool, uid: git.principal.uid, status, stderr: child.stderr() };
  if (isClientGone) git.log.info(facts, 'git ended after its client had disconnected');
  else git.log.warn(facts, 'git failed');
  return asWarning(answer);
}
