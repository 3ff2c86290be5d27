import { connect, type Socket } from 'node:net';

/** Connections that one or more addresses hold open to a server. They end by themselves after a minute. */
export class HeldConnections implements Disposable {
  readonly sockets: Socket[] = [];
  /** The first bytes that each connection received, or ''. */
  readonly answers: string[] = [];
  #closed = 0;
  readonly #port: number;
  readonly #limit: NodeJS.Timeout;

  constructor(port: number) {
    this.#port = port;
    this.#limit = setTimeout(() => this[Symbol.dispose](), 60_000).unref();
  }

  /** The number of connections that the server closed or refused. */
  get closed(): number {
    return this.#closed;
  }

  /** Opens `count` connections from `address` (any of 127.0.0.0/8), and sends `text` on each. */
  async open(count: number, { address = '127.0.0.1', text = '' } = {}): Promise<void> {
    const settled = Array.from({ length: count }, () => this.#one(address, text));
    await Promise.all(settled);
  }

  #one(address: string, text: string): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect({ port: this.#port, host: '127.0.0.1', localAddress: address });
      const index = this.sockets.push(socket) - 1;
      this.answers.push('');
      socket.on('data', (chunk) => {
        if (this.answers[index] === '') this.answers[index] = chunk.toString('latin1');
      });
      socket.on('error', () => {});
      socket.once('connect', () => {
        if (text !== '') socket.write(text);
        resolve();
      });
      socket.once('close', () => {
        this.#closed += 1;
        resolve();
      });
    });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#limit);
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Returns a request as text, for a connection that stays open. */
export function requestTo(host: string, path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
}
