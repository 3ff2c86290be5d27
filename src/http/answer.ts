import { randomBytes } from 'node:crypto';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { DeployError } from '../core/errors.ts';
import type { Log } from '../core/log/log.ts';
import { sentence } from '../core/text/sentence.ts';
import { ClientGone, isHoldingBack } from './body.ts';

/** One request to the server itself, not to a tool, with its context. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly log: Log;
  /** Fires when the client has disconnected or has its answer. */
  readonly signal: AbortSignal;
  /**
   * How many milliseconds the server still reads the body of a request that it has already answered, for example
   * refused.
   */
  readonly lingerMs: number;
  /**
   * Gives back the place that the request holds in `RequestShares`. `answerText` calls this after the answer, even if
   * the client still sends.
   */
  readonly leave: () => void;
}

const STATUS: Readonly<Record<string, number>> = {
  UNSUPPORTED_ENCODING: 415,
  UNSUPPORTED_TYPE: 415,
  BODY_TOO_LARGE: 413,
  PACK_TOO_LARGE: 413,
  BROKEN_BODY: 400,
  NOT_CONFIDENTIAL: 403,
  CROSS_SITE: 403,
  NO_ACCESS: 404,
  NO_TOKEN: 404,
  TOKEN_SCOPE: 403,
  NO_COMMAND: 404,
  NO_RELEASE: 404,
  NO_BUILD: 404,
  NO_DEPLOYMENT: 404,
  NO_CONFIG_VAR: 404,
  TOOL_DISABLED: 403,
  TOOL_RENAMED: 404,
  TOOL_BUSY: 503,
  NOTHING_LIVE: 409,
  ARTIFACT_GONE: 409,
  TOO_MANY_FOLLOWERS: 429,
  TOO_MANY_PUSHES: 429,
  TOO_MANY_FETCHES: 429,
  DISK_NEARLY_FULL: 503,
  STORE_FULL: 503,
  STORE_BUSY: 503,
  DIRECTORY_UNAVAILABLE: 503,
  DIRECTORY_BUSY: 503,
  ENTRY_TOO_LARGE: 403,
  SHUTTING_DOWN: 503,
};

/** How many bytes of a body the server still reads after the answer, so that the client receives the answer. */
const LINGER_BYTES = 1024 * 1024;

/** Returns the HTTP status for an error code: the one in `STATUS`, or else 400. */
export function statusOf({ code }: Pick<DeployError, 'code'>): number {
  return STATUS[code] ?? 400;
}

/**
 * Answers with plain text. git shows the text to its user as lines that begin with `remote: `. If an answer has begun,
 * closes the connection instead.
 */
export function answerText(
  exchange: Exchange,
  status: number,
  text: string,
  headers: OutgoingHttpHeaders = {},
): void {
  const { request, response } = exchange;
  if (response.headersSent || response.destroyed) return void response.destroy();
  const body = Buffer.from(text);
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
    ...(owesBody(request) ? { Connection: 'close' } : {}),
  });
  if (request.method !== 'HEAD') response.write(body);
  exchange.leave();
  linger(exchange, () => response.end());
}

/** Answers with a DeployError's message and hint. For any other error, answers with the id of its entry in the log. */
export function answerError(exchange: Exchange, error: unknown): void {
  const { log, signal } = exchange;
  if (error instanceof DeployError) {
    const headers = statusOf(error) === 503 ? { 'Retry-After': 10 } : {};
    answerText(exchange, statusOf(error), `${sentence(error.message)}\n${error.hint}\n`, headers);
    return;
  }
  // The client has disconnected. So the client needs no answer, and an error that only comes from the disconnection is
  // not logged.
  if (error instanceof ClientGone || (signal.aborted && isAbort(error))) return;
  const id = reportBug(log, error);
  answerText(
    exchange,
    500,
    `This is a fault of the server.\nTell its operators the number ${id}, under which they find it in the log.\n`,
  );
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Logs an error whose text clients must not see. @returns the error's id in the log, which clients may see. */
export function reportBug(log: Log, error: unknown): string {
  const id = randomBytes(6).toString('hex');
  log.error({ id, err: error }, 'http request failed');
  return id;
}

/** Whether the client still has to send a body. Node sets `complete` late, even if a request has no body. */
function owesBody({ complete, headers }: IncomingMessage): boolean {
  return (
    !complete && (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0)
  );
}

/**
 * Reads at most `LINGER_BYTES` of the remaining body, for at most `lingerMs`, and then calls `done`. If the server
 * closed the connection without reading on, the connection would be reset, and the client might not see its answer (RFC
 * 9112 section 9.6).
 */
function linger({ request, response, lingerMs }: Exchange, done: () => void): void {
  if (!owesBody(request) || request.destroyed || isHoldingBack(response)) {
    done();
    return;
  }
  let left = LINGER_BYTES;
  const timer = setTimeout(done, lingerMs);
  const finish = () => {
    clearTimeout(timer);
    done();
  };
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) finish();
  });
  request.once('end', finish);
  request.once('close', finish);
  request.on('error', finish);
  request.resume();
}
