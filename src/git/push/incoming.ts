import { Transform, type TransformCallback } from 'node:stream';
import { DeployError } from '../../core/errors.ts';
import { type CommandList, CommandListReader } from './command-list.ts';
import { flushPacket } from './pkt-line.ts';

/** The command list that git gets instead of the client's. Null if the push is refused: git then gets an empty list. */
export type Rewritten = Buffer | null;

// How long the server reads and drops what a client still sends once git gets no more of the push.
const DISCARD_MS = 60_000;
/**
 * How long the command list may take from its first byte. Then the server ends the push, because the push holds a place
 * of its tool and its person.
 */
const LIST_MS = 60_000;

/**
 * Passes the client's push to receive-pack. Reads the command list, lets `decide` rewrite it, and passes the new list
 * and then the pack unchanged. After a refusal, git gets an empty list. The server then reads and drops the client's
 * pack, because the client reads its answer only after it has sent the pack. The server reads only a limited number of
 * bytes for a limited time.
 */
export class Incoming extends Transform {
  readonly #reader: CommandListReader;
  readonly #decide: (list: CommandList) => Rewritten;
  readonly #refuse: (error: Error) => void;
  readonly #whenMayUnpack: () => Promise<void>;
  readonly #arrived: (bytes: number) => boolean;
  readonly #maxDiscardBytes: number;
  #mode: 'list' | 'pass' | 'discard' = 'list';
  #discarded = 0;
  #passed = 0;
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param mostLines - How many lines of the command list are read at most. `decide` must refuse a list with more.
   * @param decide - Called once, with the client's command list.
   * @param refuse - Called if the bytes are not a command list, or if `decide` throws.
   * @param arrived - Called for each chunk after the one that completes the command list, with its size. If it returns
   * false, git gets no more of the push.
   * @param whenMayUnpack - Called after an accepted list. git gets the list and the pack when the returned promise
   * resolves.
   */
  constructor(options: {
    readonly mostLines: number;
    readonly decide: (list: CommandList) => Rewritten;
    readonly refuse: (error: Error) => void;
    readonly whenMayUnpack: () => Promise<void>;
    readonly arrived: (bytes: number) => boolean;
    readonly maxDiscardBytes: number;
  }) {
    // Use object mode, so that a reader gets the chunks as they came. In byte mode, the stream would copy the chunks
    // into one buffer.
    super({ writableHighWaterMark: 1024 * 1024, readableObjectMode: true, readableHighWaterMark: 32 });
    this.#reader = new CommandListReader(options.mostLines);
    this.#decide = options.decide;
    this.#refuse = options.refuse;
    this.#whenMayUnpack = options.whenMayUnpack;
    this.#arrived = options.arrived;
    this.#maxDiscardBytes = options.maxDiscardBytes;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    switch (this.#mode) {
      case 'pass':
        if (this.#arrived(chunk.length)) {
          this.#passed += chunk.length;
          done(null, chunk);
        } else {
          this.#endForGit();
          done();
        }
        break;
      case 'discard':
        done(this.#discard(chunk));
        break;
      case 'list': {
        const forGit = this.#readList(chunk);
        if (forGit === null) done();
        else this.#whenMayUnpack().then(() => done(null, forGit), done);
        break;
      }
      default:
        throw this.#mode satisfies never;
    }
  }

  /**
   * Reads one chunk of the command list. When the list is complete, returns the bytes for git: the rewritten list and
   * the beginning of the pack. Null if the list is not complete yet, or if the push is refused.
   */
  #readList(chunk: Buffer): Buffer | null {
    this.#timer ??= setTimeout(() => this.destroy(slowList()), LIST_MS).unref();
    try {
      const list = this.#reader.push(chunk);
      if (list === null) return null;
      clearTimeout(this.#timer);
      const rewritten = this.#decide(list);
      if (rewritten !== null) {
        this.#mode = 'pass';
        return Buffer.concat([rewritten, this.#reader.rest]);
      }
    } catch (error) {
      this.#refuse(error instanceof Error ? error : new Error(String(error)));
    }
    this.#startDiscarding();
    return null;
  }

  /** How many bytes git has received after the chunk that completed the command list. */
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
    this.push(flushPacket);
    this.#endForGit();
  }

  /** Gives git no more, and drops the rest of what the client sends. */
  #endForGit(): void {
    this.#mode = 'discard';
    this.push(null);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.destroy(tooMuch('took too long')), DISCARD_MS);
    this.#timer.unref();
  }

  #discard(chunk: Buffer): Error | null {
    this.#discarded += chunk.length;
    return this.#discarded > this.#maxDiscardBytes ? tooMuch('was too large') : null;
  }
}

function slowList(): DeployError {
  const words = `the list of refs of this push took longer than ${LIST_MS / 1000} s to arrive`;
  return new DeployError('BROKEN_BODY', words, 'Push again.');
}

function tooMuch(tookTooLongOrWasTooLarge: 'took too long' | 'was too large'): DeployError {
  return new DeployError(
    'PACK_TOO_LARGE',
    `the server refused this push, and the rest of the pack ${tookTooLongOrWasTooLarge} to read`,
    'To see why it was refused, push fewer commits at a time. If you pushed another branch: only the deploy branch is deployed.',
  );
}
