import { Agent, type AgentOptions, type ClientRequest } from 'node:http';
import { Socket, type TcpNetConnectOpts } from 'node:net';
import { systemCode } from '../../core/errors.ts';

/**
 * Makes a connection for each request. A tool may answer before it has read the request, and close: that the rest of a
 * body cannot be sent then is no error, and the answer is read.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.6
 */
export class AnswerFirstAgent extends Agent {
  readonly #turns = new Map<string, Turn>();

  constructor(options?: Omit<AgentOptions, 'keepAlive'>) {
    super({ ...options, keepAlive: false });
  }

  override createConnection(options: AgentOptions): Socket {
    const key = `${options.host} ${options.port}`;
    return new AnswerFirstSocket(this.#turnOf(key)).connect(options as TcpNetConnectOpts);
  }

  /** All connections to one process share it. */
  #turnOf(key: string): Turn {
    const turn = this.#turns.get(key) ?? { nextAt: 0 };
    // A process that has gone leaves an entry of a few bytes for each port at most.
    this.#turns.set(key, turn);
    return turn;
  }

  /** Tells the connection of a request that its answer has begun. */
  static watch(outgoing: ClientRequest): void {
    outgoing.once('response', ({ socket }) => {
      if (socket instanceof AnswerFirstSocket) socket.answered();
    });
  }
}

/** Until the answer begins, what the tool sends is read in pieces of this size. */
const PIECE_BYTES = 1024;

/** After the answer begins, pieces of this size. */
const ANSWER_PIECE_BYTES = 4096;
/** A usual piece takes 0.05 ms; one that is made of chunks of one byte takes 100 times as long. */
const DEAR_PIECE_US = 1_000;
/** A process whose pieces are dear gets one part in so many of the server's time. */
const PARTS = 10;
const MAX_PAUSE_MS = 250;

/** When the connections of one process may be read again, by `performance.now()`. */
interface Turn {
  nextAt: number;
}

type Done = (error?: Error | null) => void;

class AnswerFirstSocket extends Socket {
  readonly #turn: Turn;
  /** What was read and waits; null = the end. */
  readonly #held: (Buffer | null)[] = [];
  #timer: NodeJS.Timeout | null = null;
  #hasAnswer = false;

  constructor(turn: Turn) {
    super();
    this.#turn = turn;
  }

  /** The answer has begun. */
  answered(): void {
    this.#hasAnswer = true;
  }

  /**
   * A packet can hold thousands of interim answers: whoever counts them can end the connection after each piece. It
   * can hold thousands of chunks as well. These are a valid answer, so they wait until the process has its turn.
   */
  override push(chunk: Buffer | null, _encoding?: BufferEncoding): boolean {
    if (chunk === null) this.#held.push(null);
    for (let rest = chunk; rest !== null && rest.length > 0; ) {
      const size = this.#held.length === 0 && !this.#hasAnswer ? PIECE_BYTES : ANSWER_PIECE_BYTES;
      this.#held.push(rest.subarray(0, size));
      rest = rest.subarray(size);
    }
    return this.#timer === null ? this.#pass() : false;
  }

  override _read(size: number): void {
    // While something waits, the process is not read: its output stays in the kernel.
    if (this.#held.length === 0) super._read(size);
  }

  override _destroy(error: Error | null, done: Done): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#held.length = 0;
    super._destroy(error, done);
  }

  #pass(): boolean {
    let wantsMore = true;
    while (this.#held.length > 0 && !this.destroyed) {
      const pauseMs = this.#turn.nextAt - performance.now();
      // The end costs nothing: a client learns at once that a process has gone.
      if (pauseMs > 0 && this.#held[0] !== null) {
        this.#timer = setTimeout(() => {
          this.#timer = null;
          this.#pass();
        }, pauseMs);
        return false;
      }
      const piece = this.#held.shift() ?? null;
      const before = process.threadCpuUsage();
      wantsMore = super.push(piece);
      const { user, system } = process.threadCpuUsage(before);
      const spentUs = user + system;
      if (spentUs > DEAR_PIECE_US) {
        this.#turn.nextAt = performance.now() + Math.min((spentUs * (PARTS - 1)) / 1000, MAX_PAUSE_MS);
      }
    }
    return this.destroyed ? false : wantsMore;
  }

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    super._write(chunk, encoding, unlessClosed(done));
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    super._writev?.(chunks, unlessClosed(done));
  }
}

/** What reads the connection comes to its end, and to why, by itself. */
function unlessClosed(done: Done): Done {
  return (error) => {
    const code = systemCode(error);
    done(code === 'EPIPE' || code === 'ECONNRESET' ? null : error);
  };
}
