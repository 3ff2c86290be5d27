import { DeployError } from '../core/errors.ts';

const maxPatterns = 200;
const maxPatternLength = 256;
/** A few seconds of comparing. */
const maxSteps = 100_000_000;
/** A few milliseconds of comparing. */
const stepsOfTurn = 200_000;

/** What one character must be; null stands for any number of characters. */
type Token = { readonly fits: (character: string) => boolean; readonly steps: number } | null;

/** One line of a .slugignore. */
export interface Pattern {
  /** What each part of a path must fit; null stands for any number of folders. */
  readonly parts: readonly (readonly Token[] | null)[];
  readonly isFolderOnly: boolean;
}

/** The patterns of a .slugignore, and sentences about lines that are not used. */
export function readPatterns(text: string): { patterns: Pattern[]; warnings: string[] } {
  const patterns: Pattern[] = [];
  const warnings: string[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const where = `Line ${index + 1} of .slugignore`;
    if (line.startsWith('!'))
      warnings.push(`${where} is not used: there are no exceptions (!) in .slugignore.`);
    else if (line.length > maxPatternLength)
      warnings.push(`${where} is not used: it is longer than ${maxPatternLength} characters.`);
    else if (patterns.length === maxPatterns) {
      warnings.push(`${where} and those after it are not used: more than ${maxPatterns} patterns.`);
      break;
    } else patterns.push(patternOf(line));
  }
  return { patterns, warnings };
}

/** A slash at the start or within ties a pattern to the top; otherwise it fits at any depth. */
function patternOf(line: string): Pattern {
  const path = line.replace(/\/+$/, '');
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map((part) => (part === '**' ? null : tokens(part)));
  return { parts: path.includes('/') ? parts : [null, ...parts], isFolderOnly: line.endsWith('/') };
}

/** `*`, `?`, `[a-z]`, `\x` and plain characters. */
function tokens(glob: string): Token[] {
  return (glob.match(/\\.|\[[!^]?\]?[^\]]*\]|./gsu) ?? []).map(tokenOf);
}

function tokenOf(text: string): Token {
  if (text === '*') return null;
  if (text === '?') return { fits: () => true, steps: 1 };
  const [, negation = '', set] = /^\[([!^]?)(.*)\]$/su.exec(text) ?? [];
  if (set !== undefined) return setOf(set, negation !== '');
  const wanted = text.length > 1 && text.startsWith('\\') ? text.slice(1) : text;
  return { fits: (character) => character === wanted, steps: 1 };
}

/** Read once: read at each comparison, a long set made every step cost hundreds. */
function setOf(set: string, isNegated: boolean): Token {
  const members = [...set.matchAll(/(.)-(.)|(.)/gsu)];
  const ranges = members.flatMap(([, from, to]): [string, string][] =>
    from === undefined || to === undefined ? [] : [[from, to]],
  );
  const singles = new Set(members.flatMap(([, , , one]) => one ?? []));
  const isIn = (character: string): boolean =>
    singles.has(character) || ranges.some(([from, to]) => from <= character && character <= to);
  return { fits: (character) => isIn(character) !== isNegated, steps: 1 + ranges.length };
}

/** Compares paths with patterns, and gives up where those were made to take for ever. */
export class Matcher {
  #steps = 0;
  #turnAt = 0;

  /** Whether so much was compared that others should have their turn; then not again for as much more. */
  isDue(): boolean {
    if (this.#steps - this.#turnAt < stepsOfTurn) return false;
    this.#turnAt = this.#steps;
    return true;
  }

  /**
   * Whether the parts of a pattern fit all parts of a path, each given as its characters.
   *
   * @throws DeployError `BUILD_SLUGIGNORE` where all comparisons together take too long.
   */
  fits(pattern: Pattern['parts'], path: readonly (readonly string[])[]): boolean {
    return this.#matchRuns(pattern, path, (part, name) =>
      this.#matchRuns(part, name, (token, character) => {
        this.#step(token.steps);
        return token.fits(character);
      }),
    );
  }

  /**
   * Whether a list with wildcards (null) for runs of any length fits another list. Only the last wildcard is ever
   * tried again, so that a pattern costs at most the product of both lengths.
   */
  #matchRuns<Token, Item>(
    pattern: readonly (Token | null)[],
    items: readonly Item[],
    isSame: (token: Token, item: Item) => boolean,
  ): boolean {
    let [at, item, anyAt, retryFrom] = [0, 0, -1, 0];
    while (item < items.length) {
      this.#step(1);
      const token = pattern[at];
      if (token === null) {
        anyAt = at;
        retryFrom = item;
        at += 1;
      } else if (token !== undefined && isSame(token, items[item] as Item)) {
        at += 1;
        item += 1;
      } else if (anyAt >= 0) {
        retryFrom += 1;
        item = retryFrom;
        at = anyAt + 1;
      } else {
        return false;
      }
    }
    return pattern.slice(at).every((token) => token === null);
  }

  #step(count: number): void {
    this.#steps += count;
    if (this.#steps <= maxSteps) return;
    throw new DeployError(
      'BUILD_SLUGIGNORE',
      `The patterns of .slugignore take too long over this many files.`,
      'Use fewer patterns and fewer wildcards in each, and push again.',
    );
  }
}
