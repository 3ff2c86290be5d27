import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { Connection, ServerChannel } from 'ssh2';
import { isExchangingKeys } from './ssh2-inner.ts';

/** More than this waiting in the socket, and writers wait: a client may announce a window of 4 GiB and not read. */
const MOST_IN_SOCKET_BYTES = 1024 * 1024;
const ERR_PIECE_BYTES = 4096;
const MOST_ERR_BYTES = 64 * 1024;

/** Parts of ssh2's Channel that its types leave out. */
interface Inner {
  _chunk: Buffer | undefined;
  _chunkcb: unknown;
  readonly outgoing: { state: 'open' | 'eof' | 'closing' | 'closed' };
}

/**
 * The three streams of one exec or shell request, as something that can be waited for.
 *
 * ssh2's channel never calls back once the client has gone, and sends parts of standard output twice when
 * standard error meets a full window. So everything is written here, one after the other, and every wait
 * ends when the client is gone: what is written then is dropped.
 */
export class ClientStreams {
  readonly #channel: ServerChannel;
  readonly #client: Connection;
  readonly #socket: Socket;
  readonly #gone = new AbortController();
  readonly #stall: NodeJS.Timeout;
  #last: Promise<void> = Promise.resolve();
  #isWriting = false;
  #release: () => void = () => {};
  #errBytes = 0;
  #isUntouched = true;
  /** With it, silence both ways counts as a stall too. For git, whose conversations are never silent for long. */
  isSilenceStall = false;
  /** The client's terminal is in raw mode: texts get the line ends that it wants, bytes of a process have them. */
  isTerminal = false;

  constructor(
    channel: ServerChannel,
    { client, socket }: { readonly client: Connection; readonly socket: Socket },
    stallMs: number,
  ) {
    this.#channel = channel;
    this.#client = client;
    this.#socket = socket;
    this.#stall = setTimeout(() => this.#onStall(), stallMs).unref();
    channel.on('error', () => this.leave());
    channel.stderr.on('error', () => this.leave());
  }

  /** Aborted when nobody is there any more to read or write. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** True as long as nothing was written to standard output. */
  get isUntouched(): boolean {
    return this.#isUntouched;
  }

  /** The bytes that wait to be read. */
  get waitingBytes(): number {
    return this.#channel.readableLength;
  }

  /** Resolves when the client's window, and the socket, have taken it. */
  out(chunk: Uint8Array | string): Promise<void> {
    this.#isUntouched = false;
    const shown = typeof chunk === 'string' ? this.#shown(chunk) : chunk;
    this.#last = this.#last.then(() => this.#write(this.#channel, shown));
    return this.#last;
  }

  /** A few lines; at 64 kB the rest is dropped. */
  err(text: string): Promise<void> {
    const bytes = Buffer.from(this.#shown(text)).subarray(0, MOST_ERR_BYTES - this.#errBytes);
    this.#errBytes += bytes.length;
    return this.errors(bytes);
  }

  /** Any number of bytes for standard error; await it before there are more. */
  errors(bytes: Uint8Array): Promise<void> {
    this.#last = this.#last.then(async () => {
      for (let at = 0; at < bytes.length; at += ERR_PIECE_BYTES) {
        // What ssh2 keeps of the last piece of standard output, and would send again for this one.
        const inner = this.#channel as unknown as Inner;
        inner._chunk = undefined;
        inner._chunkcb = undefined;
        await this.#write(this.#channel.stderr, bytes.subarray(at, at + ERR_PIECE_BYTES));
      }
    });
    return this.#last;
  }

  /** What the client sends, until it says that this is all, or is gone. Read on demand: a reader that waits holds the client back. */
  async *input(): AsyncGenerator<Buffer, void, undefined> {
    while (true) {
      const chunk: Buffer | null = this.#channel.read();
      if (chunk !== null) {
        this.#stall.refresh();
        yield chunk;
      } else if (this.#channel.readableEnded || this.gone.aborted) {
        return;
      } else {
        await this.#next(['readable', 'end', 'close', 'error']);
      }
    }
  }

  /** Sends the exit status and closes, after all that was written. */
  async finish(status: number): Promise<void> {
    await this.#last;
    clearTimeout(this.#stall);
    if (!this.gone.aborted) {
      // In this order: after end() ssh2 sends no status, and the client would report 255.
      this.#channel.exit(status);
      this.#channel.end();
    }
    this.#channel.resume();
  }

  /** The client is gone, or is to be treated so. */
  leave(): void {
    if (this.gone.aborted) return;
    clearTimeout(this.#stall);
    try {
      this.#channel.close();
    } catch {
      // The connection ended first, and ssh2's parts of it with it.
    }
    // Or ssh2 would still try to send window adjustments on a connection that it has taken apart.
    (this.#channel as unknown as Inner).outgoing.state = 'closed';
    this.#gone.abort();
    this.#release();
  }

  #shown(text: string): string {
    return this.isTerminal ? text.replaceAll('\n', '\r\n') : text;
  }

  async #write(stream: Writable, chunk: Uint8Array | string): Promise<void> {
    if (this.gone.aborted || chunk.length === 0) return;
    this.#isWriting = true;
    await this.#until((done) => stream.write(chunk, () => done()));
    while (isExchangingKeys(this.#client) && !this.gone.aborted) {
      await this.#until((done) => this.#client.once('handshake', done));
    }
    while (this.#socket.writableLength > MOST_IN_SOCKET_BYTES && !this.gone.aborted) {
      await this.#until((done) => this.#socket.once('drain', done));
    }
    this.#isWriting = false;
    this.#stall.refresh();
  }

  /** Waits until `done` was called or the client is gone. Only one at a time, which the order of writes gives. */
  #until(start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#release = resolve;
      start(resolve);
    });
  }

  #next(events: readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        for (const event of events) this.#channel.removeListener(event, wake);
        this.gone.removeEventListener('abort', wake);
        resolve();
      };
      for (const event of events) this.#channel.on(event, wake);
      this.gone.addEventListener('abort', wake);
    });
  }

  #onStall(): void {
    if (this.#isWriting || this.isSilenceStall) {
      this.leave();
    } else {
      this.#stall.refresh();
    }
  }
}
