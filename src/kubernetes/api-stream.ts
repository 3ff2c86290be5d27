import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ApiException } from '@kubernetes/client-node';
import type { Cluster } from './cluster.ts';

export interface ApiStream {
  /** The path below the server's address, such as `/api/v1/pods`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** After this many milliseconds without a byte, the connection counts as lost. */
  readonly idleMs: number;
  /** The requested media type of the answer, such as `application/json`; by default, the API chooses. */
  readonly accept?: string;
  /** True to return answers with a status outside 200 to 299, instead of throwing an error. */
  readonly takesAny?: boolean;
}

/**
 * Sends a GET request whose answer may be endless, such as a watch or a log. The functions of the Kubernetes library
 * for watches and logs are not used: when a connection breaks, they end the server's process, and they do not tell why
 * a request was refused.
 *
 * @throws ApiException if the answer is not 2xx, unless `takesAny` is set; the error of the connection if it fails or
 * goes silent; AbortError when the signal fires.
 */
export async function openApiStream(cluster: Cluster, stream: ApiStream): Promise<IncomingMessage> {
  const url = new URL(`${cluster.kubeConfig.getCurrentCluster()?.server}${stream.path}`);
  for (const [name, value] of Object.entries(stream.query ?? {})) url.searchParams.set(name, value);
  const options: RequestOptions = {
    signal: stream.signal,
    headers: stream.accept === undefined ? {} : { accept: stream.accept },
  };
  await cluster.kubeConfig.applyToHTTPSOptions(options);
  // A stream gets its own connection, so that it does not take one of the connections that other calls share.
  const outgoing = (url.protocol === 'http:' ? httpRequest : httpsRequest)(url, { ...options, agent: false });
  outgoing.setTimeout(stream.idleMs, () => outgoing.destroy(new Error('the connection went silent')));
  outgoing.end();
  const response = await headOf(outgoing);
  // Ignore an error that comes while nobody reads. A reader that iterates gets the error all the same.
  response.on('error', () => {});
  outgoing.on('error', (error) => response.destroy(error));
  const status = response.statusCode ?? 0;
  if (stream.takesAny || (status >= 200 && status <= 299)) return response;
  const body = await text(response);
  throw new ApiException(status, response.statusMessage ?? '', body, {});
}

/**
 * Waits for the status and headers of the answer. A pod behind the API server may answer `101 Switching Protocols`
 * without being asked. This counts as an answer too.
 */
async function headOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  const switched = once(outgoing, 'upgrade') as Promise<[IncomingMessage, Duplex]>;
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  const [response, socket] = await Promise.race([answered, switched]);
  socket?.destroy();
  return response;
}

/**
 * Yields the lines of an answer, without newlines and without an incomplete last line. Rejects if the connection
 * breaks.
 */
export async function* linesOf(response: AsyncIterable<unknown>): AsyncGenerator<string> {
  const cutter = new LineCutter(Number.POSITIVE_INFINITY);
  for await (const chunk of response) yield* cutter.push(chunk as Uint8Array);
}

/** Cuts a stream of bytes into lines. */
export class LineCutter {
  readonly #mostCharacters: number;
  readonly #decoder = new TextDecoder();
  #rest = '';

  /**
   * @param mostCharacters - A longer line is cut after this many characters, so that an endless line does not fill the
   * memory.
   */
  constructor(mostCharacters: number) {
    this.#mostCharacters = mostCharacters;
  }

  /** Adds bytes, and returns the lines that they complete, without newlines. */
  push(bytes: Uint8Array): string[] {
    const parts = this.#decoder.decode(bytes, { stream: true }).split('\n');
    const last = parts.pop() ?? '';
    const lines = parts.map((part, index) => (index === 0 ? this.#withRest(part) : this.#cut(part)));
    this.#rest = lines.length === 0 ? this.#withRest(last) : this.#cut(last);
    return lines;
  }

  #withRest(part: string): string {
    // Drop `part` if the line is already cut: joining `part` to such a long string, again and again, would take much
    // time.
    return this.#rest.length >= this.#mostCharacters ? this.#rest : this.#cut(this.#rest + part);
  }

  #cut(line: string): string {
    return line.length > this.#mostCharacters ? line.slice(0, this.#mostCharacters) : line;
  }
}
