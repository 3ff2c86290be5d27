import { Transform, type TransformCallback } from 'node:stream';
import { DeployError } from '../core/errors.ts';
import { type CommandList, CommandListReader } from './command-list.ts';
import { flushPacket } from './pkt-line.ts';

/** What goes on to git instead of the client's command list; null: nothing of this push. */
export type Rewritten = Buffer | null;

// Enough for the rest of a push that was refused before git saw it.
const DISCARD_MS = 60_000;

/**
 * Client → receive-pack. Reads the command list, asks what becomes of it, and passes the rewritten list and
 * then the pack unchanged. After a refusal git gets an empty list and the client's pack is read and dropped,
 * so that the client comes to its answer; bounded in bytes and in time.
 */
export class Incoming extends Transform {
  readonly #reader = new CommandListReader();
  readonly #decide: (list: CommandList) => Rewritten;
  readonly #refuse: (error: Error) => void;
  readonly #maxDiscardBytes: number;
  #mode: 'list' | 'pass' | 'discard' = 'list';
  #discarded = 0;
  #passed = 0;
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param decide - Called once with the list.
   * @param refuse - Called instead where the bytes are no list.
   */
  constructor(options: {
    readonly decide: (list: CommandList) => Rewritten;
    readonly refuse: (error: Error) => void;
    readonly maxDiscardBytes: number;
  }) {
    super({ highWaterMark: 1024 * 1024 });
    this.#decide = options.decide;
    this.#refuse = options.refuse;
    this.#maxDiscardBytes = options.maxDiscardBytes;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    switch (this.#mode) {
      case 'pass':
        this.#passed += chunk.length;
        done(null, chunk);
        break;
      case 'discard':
        done(this.#discard(chunk));
        break;
      case 'list':
        done(null, this.#readList(chunk));
        break;
      default:
        throw this.#mode satisfies never;
    }
  }

  /** What of this chunk goes on to git. */
  #readList(chunk: Buffer): Buffer {
    try {
      const list = this.#reader.push(chunk);
      if (list === null) return Buffer.alloc(0);
      const rewritten = this.#decide(list);
      if (rewritten !== null) {
        this.#mode = 'pass';
        return Buffer.concat([rewritten, this.#reader.rest]);
      }
    } catch (error) {
      this.#refuse(error instanceof Error ? error : new Error(String(error)));
    }
    this.#startDiscarding();
    return Buffer.alloc(0);
  }

  /** Bytes of the pack so far. */
  get passedBytes(): number {
    return this.#passed;
  }

  override _flush(done: TransformCallback): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    done(error);
  }

  #startDiscarding(): void {
    this.#mode = 'discard';
    this.push(flushPacket);
    this.push(null);
    this.#timer = setTimeout(() => this.destroy(tooMuch('long')), DISCARD_MS);
    this.#timer.unref();
  }

  #discard(chunk: Buffer): Error | null {
    this.#discarded += chunk.length;
    return this.#discarded > this.#maxDiscardBytes ? tooMuch('large') : null;
  }
}

function tooMuch(what: 'long' | 'large'): DeployError {
  return new DeployError(
    'PACK_TOO_LARGE',
    `The push was refused, and what came after that was too ${what} to wait for.`,
    'Push again with less, or to the branch that deploys.',
  );
}
