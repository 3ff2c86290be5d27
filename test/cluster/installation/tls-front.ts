import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { pipeline } from 'node:stream/promises';
import type { Certificate } from '../../support/slapd/certificates.ts';

/** Terminates TLS for a plain server on a port of 127.0.0.1, like an ingress controller. */
export class TlsFront implements AsyncDisposable {
  readonly port: number;
  /** The target of requests. Set it before the first one. */
  behind = { host: '', port: 0 };
  readonly #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('request', (incoming, outgoing) => {
      // The client notices an error because its connection ends.
      this.#pass(incoming, outgoing).catch(() => outgoing.destroy());
    });
  }

  static async listen({ certificate, key }: Certificate): Promise<TlsFront> {
    const server = createServer({ cert: await readFile(certificate), key: await readFile(key) });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TlsFront(server);
  }

  /** The addresses from which the server may see the requests of this front. */
  get addresses(): string[] {
    return Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ family, internal }) => family === 'IPv4' && !internal)
      .map(({ address }) => address);
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { expect: _, ...headers } = incoming.headers;
    const forwarded = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' };
    const { method = 'GET', url = '/' } = incoming;
    const inner = request({
      ...this.behind,
      method,
      path: url,
      headers: { ...headers, ...forwarded },
      agent: false,
    });
    const answered = once(inner, 'response') as Promise<[IncomingMessage]>;
    const [[answer]] = await Promise.all([answered, pipeline(incoming, inner)]);
    outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    await pipeline(answer, outgoing);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
