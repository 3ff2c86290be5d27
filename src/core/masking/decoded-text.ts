/** A text after decoding, and where each decoded byte comes from. */
export interface Decoded {
  readonly bytes: Uint8Array;
  readonly length: number;
  /** For each decoded byte: the index of the first byte of the encoded text that belongs to it. */
  readonly starts: Uint32Array;
  /** For each decoded byte: the index after the last byte of the encoded text that belongs to it. */
  readonly ends: Uint32Array;
}

const [PERCENT, PLUS, SPACE, BACKSLASH] = [0x25, 0x2b, 0x20, 0x5c];

/**
 * Decodes the escapes of URLs (RFC 3986), and turns `+` into a space if `isForm`. Null if there is nothing to decode.
 */
export function withoutPercents(text: Uint8Array, isForm: boolean): Decoded | null {
  const hasForm = isForm && text.includes(PLUS);
  if (!text.includes(PERCENT) && !hasForm) return null;
  const out = new Writer(text.length);
  for (let at = 0; at < text.length; ) {
    const byte = text[at] as number;
    const value = byte === PERCENT ? hexadecimal(text, at + 1, 2) : -1;
    const end = value < 0 ? at + 1 : at + 3;
    out.add(value >= 0 ? value : hasForm && byte === PLUS ? SPACE : byte, at, end);
    at = end;
  }
  return out.decoded;
}

/**
 * For a letter after a backslash, the byte that the two stand for, such as 10 for `\n`. Any other character stands for
 * itself.
 */
const LETTERS: ReadonlyMap<number, number> = new Map(
  Object.entries({ b: 8, f: 12, n: 10, r: 13, t: 9 }).map(([letter, byte]) => [letter.charCodeAt(0), byte]),
);
const [LETTER_U, LETTER_X] = [0x75, 0x78];

/** Decodes the escapes of JSON (RFC 8259) and of literals in most languages. Null if there is nothing to decode. */
export function withoutBackslashes(text: Uint8Array): Decoded | null {
  if (!text.includes(BACKSLASH)) return null;
  const out = new Writer(text.length);
  for (let at = 0; at < text.length; ) {
    const byte = text[at] as number;
    const next = text[at + 1];
    if (byte !== BACKSLASH || next === undefined) {
      out.add(byte, at, at + 1);
      at += 1;
      continue;
    }
    const digits = next === LETTER_U ? 4 : next === LETTER_X ? 2 : 0;
    const value = digits === 0 ? -1 : hexadecimal(text, at + 2, digits);
    if (value < 0) {
      out.add(LETTERS.get(next) ?? next, at, at + 2);
      at += 2;
      continue;
    }
    let end = at + 2 + digits;
    let code = value;
    // A character outside the basic plane is written as two escapes: RFC 8259, section 7.
    const isPair = (value & 0xfc00) === 0xd800 && text[end] === BACKSLASH && text[end + 1] === LETTER_U;
    const low = isPair ? hexadecimal(text, end + 2, 4) : -1;
    if ((low & 0xfc00) === 0xdc00 && low >= 0) {
      code = 0x10000 + ((value & 0x3ff) << 10) + (low & 0x3ff);
      end += 6;
    }
    if (digits === 2) out.add(code, at, end);
    else for (const part of Buffer.from(String.fromCodePoint(code).toWellFormed())) out.add(part, at, end);
    at = end;
  }
  return out.decoded;
}

/** For each byte: its value (0 to 63) as a digit of base64 or base64url (RFC 4648), or 255 if it is not a digit. */
const DIGITS = new Uint8Array(256).fill(255);
for (const alphabet of ['+/', '-_']) {
  const digits = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789${alphabet}`;
  for (const [value, digit] of [...digits].entries()) DIGITS[digit.charCodeAt(0)] = value;
}

/**
 * Decodes each run of base64 digits in the text four times, once from each of its first four digits on. It is not known
 * where the encoding begins, because the letters of a word right before it are base64 digits too.
 *
 * @param leastBytes - Results that are shorter are dropped.
 */
export function* fromBase64(text: Uint8Array, leastBytes: number): Generator<Decoded> {
  for (let from = 0; from < text.length; ) {
    let to = from;
    while (to < text.length && DIGITS[text[to] as number] !== 255) to += 1;
    for (let skip = 0; skip < 4 && Math.floor(((to - from - skip) * 6) / 8) >= leastBytes; skip++) {
      yield decode(text, from + skip, to);
    }
    from = to + 1;
  }
}

function decode(text: Uint8Array, from: number, to: number): Decoded {
  const out = new Writer(Math.floor(((to - from) * 6) / 8));
  let bits = 0;
  let bitCount = 0;
  for (let at = from; at < to; at++) {
    bits = ((bits << 6) | (DIGITS[text[at] as number] as number)) & 0xffff;
    bitCount += 6;
    if (bitCount < 8) continue;
    bitCount -= 8;
    out.add((bits >> bitCount) & 0xff, at - 1, at + 1);
  }
  return out.decoded;
}

class Writer {
  readonly #bytes: Uint8Array;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  #length = 0;

  constructor(most: number) {
    this.#bytes = new Uint8Array(most);
    this.#starts = new Uint32Array(most);
    this.#ends = new Uint32Array(most);
  }

  get decoded(): Decoded {
    return { bytes: this.#bytes, length: this.#length, starts: this.#starts, ends: this.#ends };
  }

  add(byte: number, start: number, end: number): void {
    this.#bytes[this.#length] = byte;
    this.#starts[this.#length] = start;
    this.#ends[this.#length] = end;
    this.#length += 1;
  }
}

/** The value of a fixed number of hexadecimal digits, or -1 if the text does not have them. */
function hexadecimal(text: Uint8Array, from: number, count: number): number {
  let value = 0;
  for (let at = from; at < from + count; at++) {
    const digit = digitOf(text[at] ?? 0);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
