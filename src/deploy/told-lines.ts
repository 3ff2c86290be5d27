import { createReadStream, existsSync, truncateSync } from 'node:fs';

/** Of a log with more lines the newest count: a cluster keeps fewer of a container that it could tell again. */
const MOST_LINES = 4_000_000;
/** What looking for lines that are not there may take, in lines looked at: about a second in all. */
const MOST_LOOKED_AT = 1_000_000_000;

/**
 * The lines that stand in a log, in order, to be passed over when they are told again. What else stands between them
 * (who joined, that a build still runs) is not told again and stays where it is. Lines are known by a hash of 32 bits,
 * since a build may print a hundred million bytes. A log that was made to be hard to look through costs no more time or
 * memory than said above: then lines are told twice.
 */
export class ToldLines {
  readonly #hashes: Uint32Array;
  #next = 0;
  #lookedAt = 0;

  private constructor(hashes: Uint32Array) {
    this.#hashes = hashes;
  }

  /** Reads a log. Half a line at its end, as a killed server leaves it, is taken away: it will be told whole. */
  static async read(path: string): Promise<ToldLines> {
    const hashes = new NewestHashes();
    let bytes = 0;
    let rest = '';
    const chunks: AsyncIterable<string> | readonly string[] = existsSync(path)
      ? createReadStream(path, { encoding: 'utf8' })
      : [];
    for await (const chunk of chunks) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        hashes.push(hashOf(line));
        bytes += Buffer.byteLength(line) + 1;
      }
    }
    if (rest !== '') truncateSync(path, bytes);
    return new ToldLines(hashes.all());
  }

  /** What of this text, whole lines, has not been told; empty = nothing. */
  untold(text: string): string {
    if (this.#next >= this.#hashes.length) return text;
    const lines = text.split('\n').slice(0, -1);
    return lines
      .filter((line) => !this.#pass(line))
      .map((line) => `${line}\n`)
      .join('');
  }

  /** False where the line does not come any more. */
  #pass(line: string): boolean {
    if (this.#lookedAt > MOST_LOOKED_AT) return false;
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
    return this.#hashes.slice(Math.max(0, this.#count - MOST_LINES), this.#count);
  }

  #makeRoom(): void {
    if (this.#count < 2 * MOST_LINES) {
      const wider = new Uint32Array(Math.min(2 * this.#count, 2 * MOST_LINES));
      wider.set(this.#hashes);
      this.#hashes = wider;
    } else {
      this.#hashes.copyWithin(0, this.#count - MOST_LINES);
      this.#count = MOST_LINES;
    }
  }
}

/** FNV-1a, over UTF-16 code units: https://www.rfc-editor.org/rfc/rfc9923 */
function hashOf(line: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < line.length; index++) {
    hash = Math.imul(hash ^ line.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
