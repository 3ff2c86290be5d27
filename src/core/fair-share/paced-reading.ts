import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { readingTime } from './reading-time.ts';

/** Where no body is known to go on, pieces are small: they can hold whole requests, or interim answers. */
const HEAD_BYTES = 1024;
/** Pieces of a body grow fourfold with each that comes in large chunks, from the least to the most. */
const LEAST_BODY_BYTES = 4 * 1024;
const FIRST_BODY_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;
/** Smaller chunks, on the average, cost more than their bytes, and are joined. */
const SMALL_CHUNK_BYTES = 1024;

/** While something waits, the wait is computed again this often, because others pay meanwhile. */
const MAX_WAIT_MS = 250;

/** A message whose body comes in. */
interface Body {
  readonly message: IncomingMessage;
  /** Parsed chunks that are not handed on yet. */
  chunks: Buffer[];
  readonly push: (chunk: Buffer | null) => boolean;
  /** Bytes that a piece may have at most. After them, other requests may follow. */
  most: number;
}

/**
 * Reads a connection of HTTP in pieces, so that no packet holds up the server: when a piece has cost much, the rest
 * waits until its key has paid (`ReadingTime`). For readers, the chunks of a body that came together are joined, so
 * chunks of one byte cost them nothing.
 */
export class PacedReading {
  static readonly #all = new WeakMap<Socket, PacedReading>();

  readonly #socket: Socket;
  readonly #push: Socket['push'];
  readonly #key: string;
  /** The key that pays for reading the current request or answer, or the bytes after `becomeOpaque`. */
  #messageKey: string;
  #body: Body | null = null;
  #bodyBytes = FIRST_BODY_BYTES;
  /** Chunks that were read and wait for their turn. Null stands for the end. */
  #held: (Buffer | null)[] = [];
  #isWaiting = false;
  #isPassing = false;
  #isOpaque = false;
  #messages = 0;

  /** Returns the paced reading of a connection, if it has one. */
  static of(socket: Socket): PacedReading | undefined {
    return PacedReading.#all.get(socket);
  }

  /** @param key - Who pays for what comes in. */
  static begin(socket: Socket, key: string): void {
    PacedReading.#all.set(socket, new PacedReading(socket, key));
  }

  private constructor(socket: Socket, key: string) {
    this.#socket = socket;
    this.#key = key;
    this.#messageKey = key;
    this.#push = socket.push.bind(socket);
    const read = socket._read.bind(socket);
    socket.push = (chunk: Buffer | null) => this.#take(chunk);
    socket._read = (size) => {
      // While something waits, the rest stays in the kernel.
      if (this.#held.length === 0) read(size);
    };
    socket.on('resume', () => this.#passSoon());
    socket.once('close', () => {
      this.#held.length = 0;
    });
  }

  /** A message has begun, whose body is to be joined, and for which `key` pays. */
  begin(message: IncomingMessage, key: string = this.#key): void {
    this.#messages += 1;
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

  /** From here on the bytes are not HTTP, and `key` pays for them. */
  becomeOpaque(key: string = this.#key): void {
    this.#isOpaque = true;
    this.#messageKey = key;
  }

  /** Whether bytes have come that wait until their key has paid. */
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

  /** Passes on what is held, until something stands in the way. */
  #pass(): boolean {
    let wantsMore = true;
    let hasPassed = false;
    while (this.#held.length > 0 && !this.#socket.destroyed) {
      if (this.#held[0] === null) {
        // The end costs nothing: a client learns at once that a process has gone.
        this.#held.length = 0;
        this.#push(null);
        this.#socket.read(0);
        break;
      }
      const delayMs = readingTime.waitMs(this.#payer);
      // A connection that has just passed something waits longer than the others of its key, so they take turns.
      if (delayMs > 0) this.#passSoon(Math.min(delayMs, MAX_WAIT_MS) + (hasPassed ? 1 : 0));
      if (delayMs > 0 || this.#socket.isPaused()) break;
      hasPassed = true;
      const before = this.#messages;
      const piece = this.#nextPiece();
      const chunks = this.#body?.chunks.length ?? 0;
      wantsMore = this.#count(piece.length, () => this.#push(piece));
      this.#adapt(piece.length, (this.#body?.chunks.length ?? 0) - chunks);
      // Requests that came together are answered before more of them are read.
      if (this.#messages > before + 1) this.#passSoon();
      if (this.#isWaiting) break;
    }
    const body = this.#body;
    if (body !== null && body.chunks.length > 0) this.#count(0, () => this.#handOn(body));
    return wantsMore && this.#held.length === 0;
  }

  #adapt(bytes: number, chunks: number): void {
    if (chunks * SMALL_CHUNK_BYTES > bytes + SMALL_CHUNK_BYTES) this.#bodyBytes = LEAST_BODY_BYTES;
    else if (this.#bodyBytes < MAX_BODY_BYTES) this.#bodyBytes *= 4;
  }

  get #payer(): string {
    return this.#body === null && !this.#isOpaque ? this.#key : this.#messageKey;
  }

  get #limit(): number {
    if (this.#isOpaque) return Number.POSITIVE_INFINITY;
    return this.#body === null ? HEAD_BYTES : Math.max(1, Math.min(this.#bodyBytes, this.#body.most));
  }

  /** What came in very small pieces is joined, and what came in a large one is cut. */
  #nextPiece(): Buffer {
    const parts: Buffer[] = [];
    let left = this.#limit;
    for (let next = this.#held[0]; next && left > 0; next = this.#held[0]) {
      parts.push(next.subarray(0, left));
      if (next.length > left) this.#held[0] = next.subarray(left);
      else this.#held.shift();
      left -= next.length;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  /** Does what costs time, for the one who pays. */
  #count<Result>(bytes: number, work: () => Result): Result {
    const [payer, messages] = [this.#payer, this.#messages];
    readingTime.begin();
    const startedAt = performance.now();
    this.#isPassing = bytes > 0;
    try {
      return work();
    } finally {
      this.#isPassing = false;
      const begun = this.#messages - messages;
      const spentMs = performance.now() - startedAt;
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
    // As Node does it for each chunk.
    if (!wantsMore) this.#socket.pause();
  }
}

/** After an answer nothing follows, for each has a connection of its own. Where a request in chunks ends is not known. */
function mostOf({ statusCode, headers }: IncomingMessage): number {
  const length = headers['content-length'];
  if (length !== undefined) return Number(length);
  return typeof statusCode === 'number' ? Number.POSITIVE_INFINITY : LEAST_BODY_BYTES;
}
