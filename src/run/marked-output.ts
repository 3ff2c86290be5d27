const MAX_AFTER_BYTES = 32;

/** Returns the bytes that mark where the output of a command begins or ends in a stream. `mark` is random. */
export function markBytes(mark: string): Uint8Array {
  return Buffer.from(`\0${mark}`);
}

/**
 * Cuts a command's output out of a stream: passes on only the bytes after a first mark, up to a second mark or the end
 * of the stream.
 */
export class MarkedOutput {
  readonly #mark: Buffer;
  #state: 'before' | 'between' | 'after';
  #after: Buffer = Buffer.alloc(0);
  /** The newest bytes of the stream, if they may be the beginning of `#mark`. Otherwise empty. */
  #held: Buffer = Buffer.alloc(0);

  /**
   * @param isOpen - True if the output of the command begins with the first byte of the stream, without a mark before
   * it.
   */
  constructor(mark: Uint8Array, isOpen: boolean) {
    this.#mark = Buffer.from(mark);
    this.#state = isOpen ? 'between' : 'before';
  }

  /** True once the output of the command has begun: after the first mark. */
  get hasBegun(): boolean {
    return this.#state !== 'before';
  }

  /** True once the output of the command has ended: after the second mark. */
  get isOver(): boolean {
    return this.#state === 'after';
  }

  /** The first bytes after the mark that ends the output of the command, at most 32 bytes. */
  get after(): Buffer {
    return this.#after;
  }

  /**
   * Takes the next bytes of the stream, and returns the output of the command in them, perhaps none. Holds bytes back
   * if they may be the beginning of a mark.
   */
  pass(bytes: Uint8Array): Uint8Array {
    let rest = Buffer.concat([this.#held, bytes]);
    this.#held = Buffer.alloc(0);
    if (this.#state === 'before') {
      const begin = rest.indexOf(this.#mark);
      if (begin < 0) return this.#hold(rest).subarray(0, 0);
      this.#state = 'between';
      rest = rest.subarray(begin + this.#mark.length);
    }
    if (this.#state === 'after') return this.#keep(rest);
    const end = rest.indexOf(this.#mark);
    if (end < 0) return this.#hold(rest);
    this.#state = 'after';
    this.#keep(rest.subarray(end + this.#mark.length));
    return rest.subarray(0, end);
  }

  #keep(bytes: Buffer): Buffer {
    this.#after = Buffer.concat([this.#after, bytes]).subarray(0, MAX_AFTER_BYTES);
    return bytes.subarray(0, 0);
  }

  /**
   * Returns the output that was held back because it might have been the beginning of a mark. Call this at the end of
   * the stream.
   */
  end(): Uint8Array {
    return this.#state === 'between' ? this.#held : Buffer.alloc(0);
  }

  /**
   * Holds back the longest tail of `bytes` that may be the beginning of `#mark`.
   *
   * @returns the bytes before this tail.
   */
  #hold(bytes: Buffer): Buffer {
    const longest = Math.min(bytes.length, this.#mark.length - 1);
    for (let length = longest; length > 0; length -= 1) {
      const tail = bytes.subarray(bytes.length - length);
      if (!tail.equals(this.#mark.subarray(0, length))) continue;
      this.#held = tail;
      return bytes.subarray(0, bytes.length - length);
    }
    return bytes;
  }
}
