import { addAbortListener } from 'node:events';
import type { LogLine } from '../runtime.ts';

const MAX_WAITING_LINES = 1000;
/**
 * A batch of lines is small, because the text that the server makes from it stays in memory while the client reads
 * nothing, and `LineRoom` does not count this text.
 */
const [MAX_BATCH_LINES, MAX_BATCH_CHARACTERS] = [100, 16 * 1024];
const MAX_CHARACTERS_OF_ALL = 32 * 1024 * 1024;
const MIN_CHARACTERS_OF_ONE = 64 * 1024;
/** How many characters of memory each line costs in addition to its text and the name of its process. */
const LINE_CHARACTERS = 100;

/** Limits the memory for log lines that wait for readers. All readers of all tools share this memory. */
export class LineRoom {
  #held = 0;

  /**
   * Reserves memory for a line. One reader may hold an eighth of the memory that the other readers leave free, but
   * always at least `MIN_CHARACTERS_OF_ONE`.
   *
   * @param own - How many characters this reader holds already.
   * @returns false if the reader may hold no more.
   */
  take(characters: number, own: number): boolean {
    const free = MAX_CHARACTERS_OF_ALL - this.#held + own;
    if (own + characters > Math.max(MIN_CHARACTERS_OF_ONE, free / 8)) return false;
    this.#held += characters;
    return true;
  }

  /**
   * Reserves memory for a reader that holds no memory yet: an eighth of the free memory or `MIN_CHARACTERS_OF_ONE`, if
   * that is more, but at most `most` characters. @returns how many characters are reserved.
   */
  reserve(most: number): number {
    const free = MAX_CHARACTERS_OF_ALL - this.#held;
    const characters = Math.min(most, Math.max(MIN_CHARACTERS_OF_ONE, Math.floor(free / 8)));
    this.#held += characters;
    return characters;
  }

  give(characters: number): void {
    this.#held -= characters;
  }
}

/** The memory that a line uses, in characters. */
export function charactersOf({ process, text }: Pick<LogLine, 'process' | 'text'>): number {
  return process.length + text.length + LINE_CHARACTERS;
}

interface Waiting {
  readonly line: LogLine;
  /** The memory that the line uses, in characters. */
  readonly characters: number;
}

/**
 * Holds the log lines that wait for one reader. A reader that falls behind loses lines and is told how many. A slow
 * reader never delays the tool.
 */
export class LogFollower implements Disposable {
  readonly #accepts: (line: LogLine) => boolean;
  readonly #room: LineRoom;
  /** Called when a line arrives or the signal fires. Ends the wait of `batches`. */
  #wake = (): void => {};
  #waiting: Waiting[] = [];
  #held = 0;
  /** How many characters of this reader's memory are reserved for old lines. Null if no memory is reserved for them. */
  #reserved: number | null = null;
  #leftOut = 0;

  /** @param accepts - Tells whether the reader wants a line that has just been logged. */
  constructor(accepts: (line: LogLine) => boolean, room: LineRoom) {
    this.#accepts = accepts;
    this.#room = room;
  }

  /**
   * Reserves memory for old lines until `begin` is called. Call this before the old lines are read, because many
   * readers may read old lines at the same time.
   *
   * @param most - The most characters to reserve.
   * @returns how many characters the old lines may have together, as `charactersOf` counts them.
   */
  reserve(most: number): number {
    this.#reserved = this.#room.reserve(most);
    this.#held += this.#reserved;
    return this.#reserved;
  }

  /**
   * Adds the old lines with which the reader begins. If they need more memory than is reserved, the oldest are left
   * out.
   */
  begin(past: readonly LogLine[]): void {
    let left = this.#reserved ?? this.reserve(Number.POSITIVE_INFINITY);
    this.#reserved = null;
    const taken: Waiting[] = [];
    for (const line of past.toReversed()) {
      const characters = charactersOf(line);
      if (characters > left) {
        taken.push(notice('older lines are left out: they are too long to be shown at once'));
        break;
      }
      left -= characters;
      taken.push({ line, characters });
    }
    this.#give(left);
    this.#waiting = taken.reverse();
  }

  push(line: LogLine): void {
    if (!this.#accepts(line)) return;
    const characters = this.#waiting.length >= MAX_WAITING_LINES ? null : this.#take(line);
    if (characters === null) {
      this.#leftOut += 1;
      return;
    }
    this.#waiting.push(...this.#gap(), { line, characters });
    this.#wake();
  }

  /** Yields the waiting lines in batches. With `follow`, also yields new lines until the signal fires. */
  async *batches(follow: boolean, signal: AbortSignal): AsyncGenerator<LogLine[]> {
    using _waking = addAbortListener(signal, () => this.#wake());
    while (!signal.aborted) {
      const batch = this.#next();
      if (batch.length > 0) {
        yield batch.map(({ line }) => line);
        this.#give(batch.reduce((sum, { characters }) => sum + characters, 0));
      } else if (follow) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else return;
    }
  }

  #next(): Waiting[] {
    if (this.#waiting.length === 0) return this.#gap();
    let [count, characters] = [0, 0];
    for (const { line } of this.#waiting) {
      characters += line.text.length;
      if (count === MAX_BATCH_LINES || (count > 0 && characters > MAX_BATCH_CHARACTERS)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  /** Gives back all memory that this reader holds. */
  [Symbol.dispose](): void {
    this.#waiting = [];
    this.#give(this.#held);
  }

  #take(line: LogLine): number | null {
    const characters = charactersOf(line);
    if (!this.#room.take(characters, this.#held)) return null;
    this.#held += characters;
    return characters;
  }

  #give(characters: number): void {
    this.#held -= characters;
    this.#room.give(characters);
  }

  #gap(): Waiting[] {
    if (this.#leftOut === 0) return [];
    const gap = notice(`${this.#leftOut} lines left out`);
    this.#leftOut = 0;
    return [gap];
  }
}

function notice(text: string): Waiting {
  return {
    line: { at: new Date().toISOString(), process: 'push', version: null, text: `… ${text}` },
    characters: 0,
  };
}
