import { createReadStream, existsSync, truncateSync } from 'node:fs';

/**
 * The lines that stand in a log, in order, to be passed over when they are told again. What else stands between them
 * (who joined, that a build still runs) is not told again and stays where it is. Lines are known by a hash of 32 bits,
 * since a build may print a hundred million bytes.
 */
export class ToldLines {
  readonly #hashes: Uint32Array;
  #next = 0;

  private constructor(hashes: Uint32Array) {
    this.#hashes = hashes;
  }

  /** Reads a log. Half a line at its end, as a killed server leaves it, is taken away: it will be told whole. */
  static async read(path: string): Promise<ToldLines> {
    const hashes: number[] = [];
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
    return new ToldLines(Uint32Array.from(hashes));
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
    const found = this.#hashes.indexOf(hashOf(line), this.#next);
    if (found >= 0) this.#next = found + 1;
    return found >= 0;
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
