import { StringDecoder } from 'node:string_decoder';
import { clean } from '../../core/progress.ts';

const MAX_CHARACTERS = 16 * 1024;
/** Marks the end of a line that was cut. */
export const CUT = '… (cut)';

/**
 * Splits the output of a process into complete lines, and removes control characters, except tabs and colours. Cuts
 * lines at 16,384 characters, so that a process that never prints a newline does not fill the memory.
 */
export class LogLines {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** Adds a chunk of output, and returns the lines that are complete now. */
  push(chunk: Uint8Array): string[] {
    const parts = this.#decoder.write(Buffer.from(chunk)).split('\n');
    const last = parts.pop() ?? '';
    const lines = parts.map((part) => {
      const line = this.#rest + part;
      this.#rest = '';
      return line;
    });
    this.#rest = cut(this.#rest + last, MAX_CHARACTERS + 1);
    return lines.flatMap(finished);
  }

  /** Returns the text after the last newline as the last line. Returns nothing if there is no such text. */
  end(): string[] {
    const line = this.#rest + this.#decoder.end();
    this.#rest = '';
    return line === '' ? [] : finished(line);
  }
}

function finished(line: string): string[] {
  const text = clean(withoutReturns(cut(line, MAX_CHARACTERS)));
  return (line.length > MAX_CHARACTERS ? text + CUT : text).split('\n');
}

/** Removes carriage returns at the end of a line. A regular expression would take quadratic time. */
function withoutReturns(text: string): string {
  let length = text.length;
  while (text[length - 1] === '\r') length -= 1;
  return text.slice(0, length);
}

function cut(text: string, length: number): string {
  return text.length > length ? text.slice(0, length) : text;
}
