import { createReadStream, existsSync, truncateSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';

/**
 * How many of a log's newest lines are compared with the output that a resumed build repeats. Older lines do not
 * matter, because the cluster keeps fewer lines of a container's output than this.
 */
const MAX_LINES = 4_000_000;
/**
 * How many hashes the unsuccessful searches in one log may compare in total. This takes about a second. After that, no
 * line is searched for any more, so each line counts as missing from the log.
 */
const MAX_LOOKED_AT = 1_000_000_000;

/**
 * Recognises the lines that a log already has when a resumed build repeats its output. The log may have other lines in
 * between, for example that a second push of the same commit waits for this build. Lines are stored as hashes of 32
 * bits, because a build may print a hundred million bytes. Once the searches have taken about a second
 * (`MAX_LOOKED_AT`), they stop, and the log gets some lines twice.
 */
export class LoggedLines {
  readonly #hashes: Uint32Array;
  #next = 0;
  #lookedAt = 0;

  private constructor(hashes: Uint32Array) {
    this.#hashes = hashes;
  }

  /**
   * Reads the lines of a log. Cuts off an incomplete last line, which a killed server left, because the build repeats
   * the whole line.
   */
  static async read(path: string): Promise<LoggedLines> {
    const hashes = new NewestHashes();
    const decoder = new StringDecoder('utf8');
    let bytes = 0;
    let wholeBytes = 0;
    let rest = '';
    const chunks: AsyncIterable<Buffer> | readonly Buffer[] = existsSync(path) ? createReadStream(path) : [];
    for await (const chunk of chunks) {
      const lines = (rest + decoder.write(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) hashes.push(hashOf(line));
      // Count the bytes of the file, not of the decoded text. If a full disk cut a character in half, decoding replaces
      // the half by U+FFFD, which may have more bytes.
      const newline = chunk.lastIndexOf('\n');
      if (newline >= 0) wholeBytes = bytes + newline + 1;
      bytes += chunk.length;
    }
    if (wholeBytes < bytes) truncateSync(path, wholeBytes);
    return new LoggedLines(hashes.all());
  }

  /** Returns the lines of `text` that the log lacks; an empty text if it has them all. `text` has whole lines. */
  untold(text: string): string {
    if (this.#next >= this.#hashes.length) return text;
    const lines = text.split('\n').slice(0, -1);
    return lines
      .filter((line) => !this.#pass(line))
      .map((line) => `${line}\n`)
      .join('');
  }

  /**
   * Skips to just behind the next line of the log that equals `line`. Returns false if the log has no more such line,
   * or if the searches have exceeded `MAX_LOOKED_AT`.
   */
  #pass(line: string): boolean {
    if (this.#lookedAt > MAX_LOOKED_AT) return false;
    const found = this.#hashes.indexOf(hashOf(line), this.#next);
    if (found >= 0) this.#next = found + 1;
    else this.#lookedAt += this.#hashes.length - this.#next;
    return found >= 0;
  }
}

class NewestHashes {
  #hashes = new Uint32Array(1024);
  #count = 0;

  push(hash: number): void {
    if (this.#count === this.#hashes.length) this.#makeRoom();
    this.#hashes[this.#count] = hash;
    this.#count += 1;
  }

  all(): Uint32Array {
    return this.#hashes.slice(Math.max(0, this.#count - MAX_LINES), this.#count);
  }

  #makeRoom(): void {
    if (this.#count < 2 * MAX_LINES) {
      const wider = new Uint32Array(Math.min(2 * this.#count, 2 * MAX_LINES));
      wider.set(this.#hashes);
      this.#hashes = wider;
    } else {
      this.#hashes.copyWithin(0, this.#count - MAX_LINES);
      this.#count = MAX_LINES;
    }
  }
}

/** Returns the FNV-1a hash of the line's UTF-16 code units: https://www.rfc-editor.org/rfc/rfc9923 */
function hashOf(line: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < line.length; index++) {
    hash = Math.imul(hash ^ line.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
