import type { FileHandle } from 'node:fs/promises';

export interface ReadBack {
  /** How many lines to return at most. */
  readonly count: number;
  /** Once the lines found need more characters than this together, no earlier line is returned. */
  readonly maxCharacters: number;
  /** How many characters of memory a line needs. */
  readonly charactersOf: (line: string) => number;
  readonly isWanted: (line: string) => boolean;
  /**
   * True if all lines before this line are too old for the reader. Called with the first whole line of each block that
   * is read.
   */
  readonly isTooOld: (line: string) => boolean;
  /** Runs a short piece of work when it is the tool's turn: the server shares its time for such work among tools. */
  readonly inTurn: <Result>(work: () => Result) => Promise<Result>;
  readonly signal: AbortSignal;
}

const BLOCK_BYTES = 64 * 1024;

/**
 * Reads a file from its end, and returns the last lines for which `isWanted` is true, at most `count`, in their order
 * in the file. An incomplete last line, without a newline, is left out. When the signal fires, returns the lines found
 * so far.
 */
export async function lastLines(file: FileHandle, options: ReadBack): Promise<string[]> {
  const { count, maxCharacters, charactersOf, isWanted, isTooOld, inTurn, signal } = options;
  let position = (await file.stat()).size;
  /** The end of a line that begins earlier in the file, in a block that has not been read yet. */
  let rest = Buffer.alloc(0);
  const found: string[] = [];
  let characters = 0;
  while (position > 0 && !signal.aborted && found.length < count && characters <= maxCharacters) {
    const length = Math.min(BLOCK_BYTES, position);
    position -= length;
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, position);
    const block = Buffer.concat([buffer, rest]);
    const start = position === 0 ? 0 : block.indexOf(0x0a) + 1;
    rest = block.subarray(0, start === 0 && position > 0 ? block.length : start);
    if (rest.length === block.length) continue;
    const first = await inTurn(() => {
      const lines = block.subarray(start).toString('utf8').split('\n').slice(0, -1);
      for (const line of lines.toReversed()) {
        if (!isWanted(line)) continue;
        // Keep a copy of `line`. V8 would keep the text of the whole block in memory for the original.
        found.push(Buffer.from(line).toString());
        characters += charactersOf(line);
        if (found.length >= count || characters > maxCharacters) break;
      }
      return lines[0];
    });
    if (first !== undefined && isTooOld(first)) break;
  }
  return found.reverse();
}
