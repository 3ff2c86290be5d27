import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { readingTime } from './reading-time.ts';
import { requestTime } from './request-time.ts';

/**
 * At most this many bytes are read as one piece between the bodies of HTTP messages. The number is small, because a
 * larger piece could hold the heads of many small messages, which the server would handle without a pause.
 */
const HEAD_BYTES = 1024;
/**
 * How many bytes of an HTTP body are read as one piece at most. A connection begins with `FIRST_BODY_BYTES`. After
 * large chunks, the number becomes four times as large, up to `MAX_BODY_BYTES`. After small chunks, it falls to
 * `LEAST_BODY_BYTES`.
 */
const LEAST_BODY_BYTES = 4 * 1024;
const FIRST_BODY_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;
/**
 * At most this many bytes are read as one piece of a connection whose bytes are not HTTP messages. Such a piece can hold
 * hundreds of small encrypted messages.
 */
const OPAQUE_BYTES = 16 * 1024;
/**
 * Each chunk of data costs the server time and memory. So chunks that arrived together are joined if they are smaller
 * than this on average. After a chunk that is smaller than this, `pump`, which copies git's input and output, waits as
 * soon as the buffer of its target is full. After a larger chunk, the target may hold more.
 */
export const SMALL_CHUNK_BYTES = 1024;

/**
 * If the bytes of a client's network or of a tool's process have to wait, the server checks after at most this many
 * milliseconds whether they may be read now. How long they wait depends on how many other networks and processes have
 * to wait, which can change.
 */
const MAX_WAIT_MS = 250;

/** An HTTP request or answer whose body is being read. */
interface Body {
  readonly message: IncomingMessage;
  /** Parsed chunks that the readers of the message have not got yet. */
  chunks: Buffer[];
  readonly push: (chunk: Buffer | null) => boolean;
  /**
   * How many of the next bytes may be read as part of this body at most. The bytes after these may belong to other
   * requests.
   */
  most: number;
}

/**
 * Reads a connection in pieces, so that no packet blocks the server. The time for each piece is counted for a key, such
 * as the client's network (`ReadingTime`). If a key has used too much time, its next pieces wait. Small chunks of an
 * HTTP body that arrived together are joined, so that the readers of the body do not handle each byte as a chunk.
 */
export class PacedReading {
  static readonly #all = new WeakMap<Socket, PacedReading>();
  /**
   * While encrypted bytes are read: how many milliseconds it took so far to read the bytes that were decrypted from them,
   * which are charged apart.
   */
  static #innerMs = 0;

  readonly #socket: Socket;
  readonly #push: Socket['push'];
  readonly #key: string;
  /**
   * True if all bytes are HTTP requests from one network, `#key`. `RequestTime` then decides when a request may begin.
   */
  readonly #hasTurns: boolean;
  /** When the next request may begin. Null if that was not decided yet. */
  #turnAt: number | null = null;
  /** True if the last piece ended within the head of a request. The rest of this head does not wait for a turn. */
  #isInHead = false;
  /**
   * The key (a client's network or a tool's process) to which the time to read the current request or answer is
   * charged. If the connection is not HTTP, the time to read all of its bytes is charged to this key.
   */
  #messageKey: string;
  #body: Body | null = null;
  #bodyBytes = FIRST_BODY_BYTES;
  /** Chunks that have arrived and wait to be passed on. Null stands for the end of the connection. */
  #held: (Buffer | null)[] = [];
  #isWaiting = false;
  #isPassing = false;
  #isOpaque = false;
  #messages = 0;

  /**
   * Returns the object that paces the reading of a connection. Undefined if `begin` was not called for the connection.
   */
  static of(socket: Socket): PacedReading | undefined {
    return PacedReading.#all.get(socket);
  }

  /**
   * Begins to limit how fast the server reads from a connection.
   *
   * @param key - The client's network, the tool's process or the like, to which the time to read the bytes is charged.
   * @param hasTurns - True if the bytes are HTTP requests of one network, `key`. Each request then also waits for its
   * turn.
   */
  static begin(socket: Socket, key: string, { hasTurns = false } = {}): void {
    PacedReading.#all.set(socket, new PacedReading(socket, key, hasTurns));
  }

  private constructor(socket: Socket, key: string, hasTurns: boolean) {
    this.#socket = socket;
    this.#key = key;
    this.#hasTurns = hasTurns;
    this.#messageKey = key;
    this.#push = socket.push.bind(socket);
    const read = socket._read.bind(socket);
    socket.push = (chunk: Buffer | null) => this.#take(chunk);
    socket._read = (size) => {
      // While chunks wait to be passed on, the server reads no more, so further bytes stay in the kernel.
      if (this.#held.length === 0) read(size);
    };
    socket.on('resume', () => this.#passSoon());
    socket.once('close', () => {
      this.#held.length = 0;
    });
  }

  /**
   * Counts an HTTP request or answer. Call this as soon as one begins, also for a request that Node.js answers by
   * itself, such as one without a Host. If the client has to wait for turns to begin requests, each needs one turn.
   */
  countMessage(): void {
    this.#messages += 1;
    this.#messageKey = this.#key;
  }

  /**
   * Call this after `countMessage`, when somebody will read the body of the HTTP message. From then on, joins small
   * chunks of the message's body, and charges the time to read the body to `key`.
   */
  begin(message: IncomingMessage, key: string = this.#key): void {
    this.#messageKey = key;
    const body: Body = { message, chunks: [], push: message.push.bind(message), most: mostOf(message) };
    this.#body = body;
    message.push = (chunk: Buffer | null) => {
      if (chunk !== null && message.headers['content-length'] !== undefined) body.most -= chunk.length;
      if (chunk !== null && this.#isPassing) return body.chunks.push(chunk) > 0;
      this.#handOn(body);
      if (chunk === null && this.#body === body) this.#body = null;
      return body.push(chunk);
    };
  }

  /**
   * Call this when the bytes of the connection are no longer HTTP messages. From then on, the time to read them is
   * charged to `key`.
   */
  becomeOpaque(key: string = this.#key): void {
    this.#isOpaque = true;
    this.#messageKey = key;
  }

  /** Whether bytes have arrived that the readers of the socket have not got yet. */
  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  #take(chunk: Buffer | null): boolean {
    this.#held.push(chunk);
    return this.#isWaiting ? false : this.#pass();
  }

  #passSoon(delayMs = 0): void {
    if (this.#isWaiting || this.#held.length === 0) return;
    const pass = () => {
      this.#isWaiting = false;
      this.#pass();
    };
    this.#isWaiting = true;
    if (delayMs > 0) setTimeout(pass, delayMs).unref();
    else setImmediate(pass);
  }

  /**
   * Passes the waiting bytes on to the readers of the socket, piece by piece. Stops if the socket is paused, or if the
   * key to which the bytes are charged has used up its share of time, or its time in this round of the event loop. Also
   * stops after a piece in which several requests began, so that the time to answer them is charged before more is
   * read.
   *
   * @returns true if the socket may read more bytes.
   */
  #pass(): boolean {
    let wantsMore = true;
    let hasPassed = false;
    while (this.#held.length > 0 && !this.#socket.destroyed) {
      if (this.#held[0] === null) {
        // Pass on the end of a connection without waiting, because this takes hardly any time. So a client learns
        // immediately that the process of a tool has ended.
        this.#held.length = 0;
        this.#push(null);
        this.#socket.read(0);
        break;
      }
      const delayMs = readingTime.waitMs(this.#payer);
      // A connection that has just passed bytes on waits 1 ms longer than the other connections of the same network or
      // process, so that the connections take turns.
      if (delayMs > 0) this.#passSoon(Math.min(delayMs, MAX_WAIT_MS) + (hasPassed ? 1 : 0));
      if (delayMs > 0 || this.#socket.isPaused()) break;
      if (readingTime.isRoundOver(this.#payer)) {
        this.#passSoon(hasPassed ? 1 : 0);
        break;
      }
      if (!this.#isTurn()) break;
      hasPassed = true;
      const before = this.#messages;
      const piece = this.#nextPiece();
      const chunks = this.#body?.chunks.length ?? 0;
      const hadBody = this.#body !== null;
      wantsMore = this.#count(piece.length, () => this.#push(piece));
      this.#isInHead = !hadBody && this.#messages === before;
      this.#adapt(piece.length, (this.#body?.chunks.length ?? 0) - chunks);
      // If several requests began in this piece, the next piece waits for the next round of the event loop. Before that
      // round, the time to answer the requests is charged to their key.
      if (this.#messages > before + 1) {
        if (this.#hasTurns) requestTime.waitMs(this.#key, this.#messages - before - 1);
        this.#passSoon();
      }
      if (this.#isWaiting) break;
    }
    const body = this.#body;
    if (body !== null && body.chunks.length > 0) this.#count(0, () => this.#handOn(body));
    return wantsMore && this.#held.length === 0;
  }

  /**
   * True if the next request of this connection may begin now. If it may not, the server reads the connection again
   * when the request may begin.
   */
  #isTurn(): boolean {
    if (!this.#hasTurns || this.#body !== null || this.#isInHead || this.#isOpaque) return true;
    const now = performance.now();
    this.#turnAt ??= now + requestTime.waitMs(this.#key);
    if (this.#turnAt > now) {
      this.#passSoon(Math.ceil(this.#turnAt - now));
      return false;
    }
    this.#turnAt = null;
    return true;
  }

  #adapt(bytes: number, chunks: number): void {
    if (chunks * SMALL_CHUNK_BYTES > bytes + SMALL_CHUNK_BYTES) this.#bodyBytes = LEAST_BODY_BYTES;
    else if (this.#bodyBytes < MAX_BODY_BYTES) this.#bodyBytes *= 4;
  }

  get #payer(): string {
    return this.#body === null && !this.#isOpaque ? this.#key : this.#messageKey;
  }

  get #limit(): number {
    if (this.#isOpaque) return OPAQUE_BYTES;
    return this.#body === null ? HEAD_BYTES : Math.max(1, Math.min(this.#bodyBytes, this.#body.most));
  }

  /** Takes the next piece of the chunks that wait: joins small chunks, but takes no more bytes than `#limit`. */
  #nextPiece(): Buffer {
    const parts: Buffer[] = [];
    let left = this.#limit;
    for (let next = this.#held[0]; next && left > 0; next = this.#held[0]) {
      const isWhole = next.length <= left;
      parts.push(isWhole ? next : next.subarray(0, left));
      if (isWhole) this.#held.shift();
      else this.#held[0] = next.subarray(left);
      left -= next.length;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  /**
   * Does the work, and charges its time to the key of the current message, such as a client's network. Between two
   * messages, charges the key of the connection.
   *
   * @param bytes - How many bytes the work reads; 0 if it only hands on chunks that were read before.
   */
  #count<Result>(bytes: number, work: () => Result): Result {
    const [payer, messages, outerMs] = [this.#payer, this.#messages, PacedReading.#innerMs];
    PacedReading.#innerMs = 0;
    readingTime.begin();
    const startedAt = performance.now();
    this.#isPassing = bytes > 0;
    try {
      return work();
    } finally {
      this.#isPassing = false;
      const begun = this.#messages - messages;
      const wholeMs = performance.now() - startedAt;
      const spentMs = Math.max(0, wholeMs - PacedReading.#innerMs);
      PacedReading.#innerMs = outerMs + wholeMs;
      readingTime.spend(begun > 0 ? this.#messageKey : payer, { spentMs, bytes, begun });
    }
  }

  #handOn(body: Body): void {
    const { chunks } = body;
    if (chunks.length === 0 || body.message.destroyed) return;
    body.chunks = [];
    const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
    const isSmall = bytes < chunks.length * SMALL_CHUNK_BYTES && chunks.length > 1;
    let wantsMore = true;
    for (const chunk of isSmall ? [Buffer.concat(chunks, bytes)] : chunks) wantsMore = body.push(chunk);
    // Pause the socket while the reader of the body wants no more bytes, as Node's own parser does.
    if (!wantsMore) this.#socket.pause();
  }
}

/**
 * The most bytes to read next as part of a body: its Content-Length, if it has one. Otherwise, an answer has no limit,
 * because no other answer comes before the next request. A request is read in small pieces, because another request may
 * follow it.
 */
function mostOf({ statusCode, headers }: IncomingMessage): number {
  const length = headers['content-length'];
  if (length !== undefined) return Number(length);
  return typeof statusCode === 'number' ? Number.POSITIVE_INFINITY : LEAST_BODY_BYTES;
}
