/** Passes on only the bytes of a stream between the first mark and the second. */
export class MarkedOutput {
  readonly #mark: Buffer;
  #state: 'before' | 'between' | 'after';
  /** The last bytes, if a mark may begin with them. */
  #held: Buffer = Buffer.alloc(0);

  /** @param isOpen - True if the stream begins after the first mark. */
  constructor(mark: Uint8Array, isOpen: boolean) {
    this.#mark = Buffer.from(mark);
    this.#state = isOpen ? 'between' : 'before';
  }

  /** True after the first mark. */
  get hasBegun(): boolean {
    return this.#state !== 'before';
  }

  /** True after the second mark. */
  get isOver(): boolean {
    return this.#state === 'after';
  }

  /** Returns the bytes to pass on now. May be empty. */
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

  /** Returns the bytes that were held back. Call it at the end of the stream. */
  end(): Uint8Array {
    return this.#state === 'between' ? this.#held : Buffer.alloc(0);
  }

  /** Holds back the longest end that may begin a mark. @returns the bytes before it. */
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
