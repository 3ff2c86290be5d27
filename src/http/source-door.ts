import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { answerText, type Exchange } from './answer.ts';

/** Where sources of builds come from. */
export interface Sources {
  /** What the token is for, or null; it is worth nothing afterwards. */
  take(token: string): ((signal: AbortSignal) => Readable) | null;
}

/**
 * Answers with the source of one build as a tar archive, to whoever shows its token in `Authorization: Bearer`. All
 * that is wrong gets the same answer. An archive that breaks off breaks the connection, so that nobody takes a part
 * of it for the whole.
 */
export async function serveSource(exchange: Exchange, sources: Sources): Promise<void> {
  const { request, response, signal } = exchange;
  const token = /^Bearer ([\w-]{20,200})$/.exec(request.headers.authorization ?? '')?.[1];
  const open = token === undefined ? null : sources.take(token);
  if (open === null) {
    answerText(exchange, 404, 'There is no source for this token: it was used, or its time is over.\n');
    return;
  }
  response.writeHead(200, { 'Content-Type': 'application/x-tar', 'Cache-Control': 'no-store' });
  try {
    await pipeline(open(signal), response);
  } catch (error) {
    // Whoever has gone needs no answer; all else is the server's fault, and the archive is cut.
    if (!signal.aborted) exchange.log.error({ err: error }, 'source not sent');
    response.destroy();
  }
}
