import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { Connection, ServerChannel } from 'ssh2';
import { SMALL_CHUNK_BYTES } from '../../core/fair-share/paced-reading.ts';
import { isExchangingKeys, renewWindowOnRead } from '../protocol/ssh2-internals.ts';

/**
 * If the socket holds more unsent bytes than this, writers wait. A client may announce a window of 4 GiB and not read.
 */
const MAX_IN_SOCKET_BYTES = 1024 * 1024;
const ERR_PIECE_BYTES = 4096;
const MAX_ERR_BYTES = 64 * 1024;

/** Parts of ssh2's Channel that the package's types leave out. */
interface Inner {
  _chunk: Buffer | undefined;
  _chunkcb: unknown;
  readonly outgoing: { state: 'open' | 'eof' | 'closing' | 'closed' };
}

/**
 * The standard input, output and error of one exec or shell request. Every write can be awaited.
 *
 * After the client has disconnected, ssh2's channel never reports that a write has ended. It also sends parts of
 * standard output twice if the window is full when standard error is written. So this class writes one piece after the
 * other. When the client disconnects, this class ends every wait, and drops everything that is written later.
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
  /**
   * If true, the client counts as disconnected when neither side has sent anything for `stallMs`. If false, only when a
   * write to it does not end within `stallMs`. Set for git, which is never silent for long.
   */
  isSilenceStall = false;
  /**
   * True if the client's terminal is in raw mode. Then texts of this server get CR LF line ends. The output of a
   * process has such line ends already.
   */
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
    renewWindowOnRead(channel);
    channel.on('error', () => this.leave());
    channel.stderr.on('error', () => this.leave());
  }

  /** Fires when the client has disconnected, or counts as disconnected because it stalls or was dropped. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** True if nothing was written to the client's standard output yet. */
  get isUntouched(): boolean {
    return this.#isUntouched;
  }

  /** How many received bytes were not read yet. */
  get waitingBytes(): number {
    return this.#channel.readableLength;
  }

  /** Writes to standard output. Resolves when the client's window and the socket have taken the whole chunk. */
  out(chunk: Uint8Array | string): Promise<void> {
    this.#isUntouched = false;
    const shown = typeof chunk === 'string' ? this.#shown(chunk) : chunk;
    this.#last = this.#last.then(() => this.#write(this.#channel, shown));
    return this.#last;
  }

  /** Writes a few lines to standard error. Drops everything beyond 64 KiB of all calls together. */
  err(text: string): Promise<void> {
    const bytes = Buffer.from(this.#shown(text)).subarray(0, MAX_ERR_BYTES - this.#errBytes);
    this.#errBytes += bytes.length;
    return this.errors(bytes);
  }

  /** Writes any number of bytes to standard error. Callers must await the result before the next call. */
  errors(bytes: Uint8Array): Promise<void> {
    this.#last = this.#last.then(async () => {
      for (let at = 0; at < bytes.length; at += ERR_PIECE_BYTES) {
        // Clear the chunk of standard output that ssh2 keeps. Otherwise ssh2 would send it a second time.
        const inner = this.#channel as unknown as Inner;
        inner._chunk = undefined;
        inner._chunkcb = undefined;
        await this.#write(this.#channel.stderr, bytes.subarray(at, at + ERR_PIECE_BYTES));
      }
    });
    return this.#last;
  }

  /** Yields the client's input until it ends or the client disconnects. A slow reader slows the client down. */
  async *input(): AsyncGenerator<Buffer, void, undefined> {
    // Listen to events, because read() would copy all waiting packets into one buffer, which costs garbage collections.
    let waiting: Buffer[] = [];
    const keep = (chunk: Buffer) => waiting.push(chunk);
    this.#channel.on('data', keep);
    try {
      while (!this.#channel.readableEnded && !this.gone.aborted) {
        this.#channel.resume();
        await this.#next(['data', 'end', 'close', 'error']);
        // Pause the channel, which has handed over all its packets. Packets that come later stay in the channel until
        // the reader wants more.
        this.#channel.pause();
        const chunks = waiting;
        waiting = [];
        if (chunks.length > 0) this.#stall.refresh();
        const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
        const isSmall = bytes < chunks.length * SMALL_CHUNK_BYTES;
        for (const chunk of isSmall ? [Buffer.concat(chunks, bytes)] : chunks) yield chunk;
      }
    } finally {
      this.#channel.removeListener('data', keep);
    }
  }

  /** Waits for all writes, then sends the exit status and closes the streams. */
  async finish(status: number): Promise<void> {
    await this.#last;
    clearTimeout(this.#stall);
    if (!this.gone.aborted) {
      // The exit status must be sent before end(). Otherwise ssh2 would send no status, and the client would report
      // 255.
      this.#channel.exit(status);
      this.#channel.end();
    }
    this.#channel.resume();
  }

  /** Ends the streams because the client has disconnected or is dropped. */
  leave(): void {
    if (this.gone.aborted) return;
    clearTimeout(this.#stall);
    try {
      this.#channel.close();
    } catch {
      // Ignore the error: the connection has already ended.
    }
    // Mark the channel as closed. Otherwise ssh2 would send window adjustments on the ended connection, and fail.
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
    while (this.#socket.writableLength > MAX_IN_SOCKET_BYTES && !this.gone.aborted) {
      await this.#until((done) => this.#socket.once('drain', done));
    }
    this.#isWriting = false;
    this.#stall.refresh();
  }

  /**
   * Waits until `done` is called or the client disconnects. Only one caller may wait at a time, which the order of
   * writes ensures.
   */
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
