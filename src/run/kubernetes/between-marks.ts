/** Passes on the bytes of a stream between one mark and the next, and nothing else. */
export class BetweenMarks {
  readonly #mark: Buffer;
  #state: 'before' | 'between' | 'after';
  /** The end of what came, where it may be the beginning of a mark. */
  #held: Buffer = Buffer.alloc(0);

  /** @param isOpen - The stream begins behind the first mark. */
  constructor(mark: Uint8Array, isOpen: boolean) {
    this.#mark = Buffer.from(mark);
    this.#state = isOpen ? 'between' : 'before';
  }

  /** The first mark was there. */
  get hasBegun(): boolean {
    return this.#state !== 'before';
  }

  /** The second mark was there. */
  get isOver(): boolean {
    return this.#state === 'after';
  }

  /** What of it is to be passed on now; may be empty. */
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

  /** What was held back, once nothing more comes. */
  end(): Uint8Array {
    return this.#state === 'between' ? this.#held : Buffer.alloc(0);
  }

  /** Keeps back the longest end that a mark begins with. @returns what is left. */
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
