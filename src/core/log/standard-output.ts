import { write, writeSync } from 'node:fs';

const STDOUT = 1;
/** The most characters that wait while standard output takes none. Further lines are dropped. */
const MOST_WAITING = 4 * 1024 * 1024;
/** How many milliseconds to wait if the reader of standard output takes nothing more just now (EAGAIN). */
const PAUSE_MS = 100;

/**
 * Writes lines of the log to standard output, in another thread, so that a slow reader does not hold up the server.
 * Drops what cannot be written, for example while the disk of a log file is full. (The destinations of pino would end
 * the process then, or try again for ever at its end.) What still waits at the end of the process is written then.
 */
export class StandardOutput {
  #waiting: string[] = [];
  #waitingCharacters = 0;
  #isWriting = false;

  constructor() {
    process.on('exit', () => this.#writeLast());
  }

  write(line: string): void {
    if (this.#waitingCharacters + line.length > MOST_WAITING) return;
    this.#waiting.push(line);
    this.#waitingCharacters += line.length;
    if (!this.#isWriting) this.#write(this.#taken());
  }

  #taken(): Buffer {
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#waitingCharacters = 0;
    return bytes;
  }

  #write(bytes: Buffer): void {
    this.#isWriting = bytes.length > 0;
    if (!this.#isWriting) return;
    write(STDOUT, bytes, (error, count) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#write(bytes), PAUSE_MS).unref();
      else if (error !== null || count === bytes.length) this.#write(this.#taken());
      else this.#write(bytes.subarray(count));
    });
  }

  #writeLast(): void {
    try {
      for (let rest = this.#taken(); rest.length > 0; ) rest = rest.subarray(writeSync(STDOUT, rest));
    } catch {
      // Nobody can read the log.
    }
  }
}
