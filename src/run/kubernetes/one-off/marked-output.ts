/**
 * Cuts a command's output out of a stream: passes on only the bytes after a first mark, up to a second mark or the end of
 * the stream.
 */
export class MarkedOutput {
  readonly #mark: Buffer;
  #state: 'before' | 'between' | 'after';
  /** The last bytes of the stream, if a mark may begin with them. */
  #held: Buffer = Buffer.alloc(0);

  /** @param isOpen - True if the stream begins after the first mark. */
  constructor(mark: Uint8Array, isOpen: boolean) {
    this.#mark = Buffer.from(mark);
    this.#state = isOpen ? 'between' : 'before';
  }

  /** True once the first mark has come. */
  get hasBegun(): boolean {
    return this.#state !== 'before';
  }

  /** True once the second mark has come. */
  get isOver(): boolean {
    return this.#state === 'after';
  }

  /** Adds bytes of the stream, and returns the bytes to pass on now, perhaps none. */
  pass(bytes: Uint8Array): Uint8Array {
    let rest = Buffer.concat([this.#held, bytes]);
    this.#held = Buffer.alloc(0);
    if (this.#state === 'before') {
      const begin = rest.indexOf(this.#mark);
      if (begin < 0) return this.#hold(rest).subarray(0, 0);
      this.#state = 'between';
      rest = rest.subarray(begin + this.#mark.length);
    }
    if (this.#state === 'after') return rest.subarray(0, 0);
    const end = rest.indexOf(this.#mark);
    if (end < 0) return this.#hold(rest);
    this.#state = 'after';
    return rest.subarray(0, end);
  }

  /** Returns the bytes that were held back because a mark could begin with them. Call it at the end of the stream. */
  end(): Uint8Array {
    return this.#state === 'between' ? this.#held : Buffer.alloc(0);
  }

  /** Holds back the longest end of the bytes that may begin a mark. @returns the bytes before it. */
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
