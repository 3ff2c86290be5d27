import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { answerText, type Exchange } from '../answer.ts';

/** The source code that builds have not fetched yet. */
export interface Sources {
  /**
   * Uses up a build's token, which is valid only once. Returns a function that starts the archive of the build's source
   * code, or null if the token is not valid.
   */
  take(token: string): ((signal: AbortSignal) => Readable) | null;
}

/**
 * Answers with the source of one build as a tar archive, if the request has the build's token in `Authorization:
 * Bearer`. All wrong requests get the same answer. If the archive cannot be completed, closes the connection, so that
 * the client does not take a part for the whole archive.
 */
export async function serveSource(exchange: Exchange, sources: Sources): Promise<void> {
  const { request, response, signal } = exchange;
  const token = /^Bearer ([\w-]{20,200})$/.exec(request.headers.authorization ?? '')?.[1];
  const open = token === undefined ? null : sources.take(token);
  if (open === null) {
    answerText(exchange, 404, 'There is no source for this token: it was used or has expired.\n');
    return;
  }
  response.writeHead(200, { 'Content-Type': 'application/x-tar', 'Cache-Control': 'no-store' });
  try {
    await pipeline(open(signal), response);
  } catch (error) {
    // Log the failure unless the client has disconnected, because every other failure is the server's fault.
    if (!signal.aborted) exchange.log.error({ err: error }, 'cannot send the source of a build');
    response.destroy();
  }
}
