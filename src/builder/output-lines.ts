import type { Mask } from '../core/masking/masking.ts';

/** At most this many bytes of a line are shown. The rest of the line is dropped. */
export const MAX_LINE_BYTES = 16 * 1024;
const CUT = ' … (line cut)';
/**
 * At most this many bytes of an unfinished line are kept. This is more than `MAX_LINE_BYTES`, because a secret is
 * masked only if the whole secret was kept.
 */
const MAX_HELD_BYTES = 4 * MAX_LINE_BYTES;

/**
 * Splits the output of an untrusted program into lines. Replaces invalid UTF-8, cuts lines of more than 16 kB,
 * and masks secrets even if they arrive in pieces. Keeps at most one line in memory.
 */
export class OutputLines {
  readonly #mask: Mask['steps'];
  readonly #line: (text: string) => void;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #isCut = false;

  constructor(options: { mask: Mask['steps']; line: (text: string) => void }) {
    this.#mask = options.mask;
    this.#line = options.line;
  }

  /**
   * Takes the next bytes of the output. Yields between steps, for `TimeShares.runSteps`: to mask a long line takes many
   * milliseconds.
   */
  *write(chunk: Uint8Array): Generator<void, void> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      if (end < 0) break;
      this.#hold(chunk.subarray(start, end));
      yield* this.#flush();
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start));
  }

  /** Call this after the last chunk. Passes on the last line, if it has no newline at its end. */
  *end(): Generator<void, void> {
    if (this.#heldBytes > 0) yield* this.#flush();
  }

  #hold(bytes: Uint8Array): void {
    const room = MAX_HELD_BYTES - this.#heldBytes;
    if (bytes.length > room) this.#isCut = true;
    const kept = bytes.subarray(0, Math.max(0, room));
    if (kept.length === 0) return;
    // Keep a copy of the bytes, because the stream may use the memory of the chunk again.
    this.#held.push(Buffer.from(kept));
    this.#heldBytes += kept.length;
  }

  *#flush(): Generator<void, void> {
    const whole = Buffer.concat(this.#held);
    const text = yield* this.#mask(whole.toString('utf8').replace(/\r$/, ''));
    const isLong = this.#isCut || Buffer.byteLength(text) > MAX_LINE_BYTES;
    this.#line(isLong ? cut(text) + CUT : text);
    this.#held = [];
    this.#heldBytes = 0;
    this.#isCut = false;
  }
}

/**
 * Returns the beginning of the text: at most 16 kB, and at most three quarters of the text. If the text ends within a
 * secret, the mask does not recognise this part of the secret. So the last quarter, which has this part, is left out.
 */
function cut(text: string): string {
  const bytes = Buffer.from(text);
  let length = Math.min(MAX_LINE_BYTES, Math.floor((bytes.length * 3) / 4));
  // Do not cut within a character: bytes that begin with the bits 10 continue a character (RFC 3629).
  while (((bytes[length] ?? 0) & 0xc0) === 0x80) length -= 1;
  return bytes.subarray(0, length).toString('utf8');
}
