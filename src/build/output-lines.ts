/** Bytes of one line that are shown; the rest of the line is left out. */
export const maxLineBytes = 16 * 1024;
const CUT = ' … (line cut)';
/** Held of an unfinished line, so that a secret at the cut is still found whole. */
const maxHeldBytes = 4 * maxLineBytes;

/**
 * Output of a stranger's program as clean lines: invalid UTF-8 replaced, lines of more than 16 kB cut,
 * secrets masked even where they came in pieces. Holds at most one line.
 */
export class OutputLines {
  readonly #mask: (text: string) => string;
  readonly #line: (text: string) => void;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #isCut = false;

  constructor(options: { mask: (text: string) => string; line: (text: string) => void }) {
    this.#mask = options.mask;
    this.#line = options.line;
  }

  write(chunk: Uint8Array): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      if (end < 0) break;
      this.#hold(chunk.subarray(start, end));
      this.#flush();
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start));
  }

  /** The line that had no end, if any. */
  end(): void {
    if (this.#heldBytes > 0) this.#flush();
  }

  #hold(bytes: Uint8Array): void {
    const room = maxHeldBytes - this.#heldBytes;
    if (bytes.length > room) this.#isCut = true;
    const kept = bytes.subarray(0, Math.max(0, room));
    if (kept.length === 0) return;
    // A copy: the chunk belongs to the stream.
    this.#held.push(Buffer.from(kept));
    this.#heldBytes += kept.length;
  }

  #flush(): void {
    const whole = Buffer.concat(this.#held);
    const text = this.#mask(whole.toString('utf8').replace(/\r$/, ''));
    const isLong = this.#isCut || Buffer.byteLength(text) > maxLineBytes;
    this.#line(isLong ? cut(text) + CUT : text);
    this.#held = [];
    this.#heldBytes = 0;
    this.#isCut = false;
  }
}

/** At most 16 kB of the text, and nothing of its last quarter where a secret may have been cut in two. */
function cut(text: string): string {
  const bytes = Buffer.from(text);
  let length = Math.min(maxLineBytes, Math.floor((bytes.length * 3) / 4));
  // RFC 3629: no character begins with these bits.
  while (((bytes[length] ?? 0) & 0xc0) === 0x80) length -= 1;
  return bytes.subarray(0, length).toString('utf8');
}
