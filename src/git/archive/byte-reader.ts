/** Reads a stream of bytes in pieces of the sizes that the caller wants. */
export class ByteReader implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>;
  /** The received bytes that `take`, `some` or `rest` has not returned yet. */
  #held: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Reads bytes. @returns exactly `length` bytes. Null if the stream has fewer left. */
  async take(length: number): Promise<Buffer | null> {
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const part = await this.some(left);
      if (part === null) return null;
      if (part.length === length) return part;
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** Reads bytes. @returns at least one byte, and at most `most`. Null at the end of the stream. */
  async some(most: number): Promise<Buffer | null> {
    while (this.#held.length === 0) {
      const { value, done } = await this.#chunks.next();
      if (done === true) return null;
      this.#held = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const part = this.#held.subarray(0, most);
    this.#held = this.#held.subarray(part.length);
    return part;
  }

  async *rest(): AsyncGenerator<Buffer> {
    for (;;) {
      const part = await this.some(Number.MAX_SAFE_INTEGER);
      if (part === null) return;
      yield part;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }
}
