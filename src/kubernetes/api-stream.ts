import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ApiException } from '@kubernetes/client-node';
import type { Cluster } from './cluster.ts';

export interface ApiStream {
  /** Below the server's address, as `/api/v1/pods`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Milliseconds without a byte after which the connection counts as lost. */
  readonly idleMs: number;
  /** The form of the answer, as `application/json`; the API's choice unless told. */
  readonly accept?: string;
  /** Answers outside 200 to 299 that are no exception. */
  readonly takesAny?: boolean;
}

/**
 * A GET whose answer may go on for ever: a watch, a log. The library's own functions for these bring the process
 * down when a connection breaks, and cannot say why a request was refused.
 *
 * @throws ApiException where the answer is not 2xx; the system's error where the connection fails.
 */
export async function openApiStream(cluster: Cluster, stream: ApiStream): Promise<IncomingMessage> {
  const url = new URL(`${cluster.kubeConfig.getCurrentCluster()?.server}${stream.path}`);
  for (const [name, value] of Object.entries(stream.query ?? {})) url.searchParams.set(name, value);
  const options: RequestOptions = {
    signal: stream.signal,
    headers: stream.accept === undefined ? {} : { accept: stream.accept },
  };
  await cluster.kubeConfig.applyToHTTPSOptions(options);
  // The library's agent shares what the calls use; a stream keeps a connection of its own.
  const outgoing = (url.protocol === 'http:' ? httpRequest : httpsRequest)(url, { ...options, agent: false });
  outgoing.setTimeout(stream.idleMs, () => outgoing.destroy(new Error('the connection went silent')));
  outgoing.end();
  const response = await headOf(outgoing);
  // Whoever reads gets the error by iterating; between two reads nobody listens.
  response.on('error', () => {});
  outgoing.on('error', (error) => response.destroy(error));
  const status = response.statusCode ?? 0;
  if (stream.takesAny || (status >= 200 && status <= 299)) return response;
  const body = await text(response);
  throw new ApiException(status, response.statusMessage ?? '', body, {});
}

/** The answer without its body. A pod behind the API server may switch to another protocol unasked. */
async function headOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  const switched = once(outgoing, 'upgrade') as Promise<[IncomingMessage, Duplex]>;
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  const [response, socket] = await Promise.race([answered, switched]);
  socket?.destroy();
  return response;
}

/**
 * The lines of an answer, without their ends; a last one that is cut off is not given. Rejects where it breaks.
 *
 * @param mostCharacters - A longer line loses its end, so that a line without end does not fill the memory.
 */
export async function* linesOf(
  response: AsyncIterable<unknown>,
  mostCharacters: number = Number.POSITIVE_INFINITY,
): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  const withRest = (part: string) => {
    const line = rest + part;
    return line.length > mostCharacters ? line.slice(0, mostCharacters) : line;
  };
  for await (const chunk of response) {
    const parts = decoder.decode(chunk as Buffer, { stream: true }).split('\n');
    const last = parts.pop() ?? '';
    for (const part of parts) {
      const line = withRest(part);
      rest = '';
      yield line;
    }
    rest = withRest(last);
  }
}
