import { StringDecoder } from 'node:string_decoder';
import { clean } from '../core/progress.ts';

const MOST_CHARACTERS = 16 * 1024;
/** How a line ends that has lost its end. */
export const CUT = '… (cut)';

/**
 * Cuts a process's output into whole, clean lines. A line longer than 16 kB loses its end, so that a process
 * that never prints a new line does not fill the memory.
 */
export class LogLines {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** The lines that this chunk completes. */
  push(chunk: Uint8Array): string[] {
    const parts = this.#decoder.write(Buffer.from(chunk)).split('\n');
    const last = parts.pop() ?? '';
    const lines = parts.map((part) => {
      const line = this.#rest + part;
      this.#rest = '';
      return line;
    });
    this.#rest = cut(this.#rest + last, MOST_CHARACTERS + 1);
    return lines.flatMap(finished);
  }

  /** What was left without a new line. */
  end(): string[] {
    const line = this.#rest + this.#decoder.end();
    this.#rest = '';
    return line === '' ? [] : finished(line);
  }
}

function finished(line: string): string[] {
  const text = line.length > MOST_CHARACTERS ? cut(line, MOST_CHARACTERS) + CUT : line;
  return clean(withoutReturns(text)).split('\n');
}

/** Without those at its end. A regular expression would look at each run of them, to its end and over again. */
function withoutReturns(text: string): string {
  let length = text.length;
  while (text[length - 1] === '\r') length -= 1;
  return text.slice(0, length);
}

function cut(text: string, length: number): string {
  return text.length > length ? text.slice(0, length) : text;
}
