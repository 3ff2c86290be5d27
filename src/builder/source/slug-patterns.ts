import { DeployError } from '../../core/errors.ts';

const MAX_PATTERNS = 200;
const MAX_PATTERN_LENGTH = 256;
/** The most comparisons of characters for all patterns of a source. So many comparisons take a few seconds. */
const MAX_STEPS = 100_000_000;
/**
 * After this many comparisons of characters, which take a few milliseconds, the server serves other requests before it
 * goes on.
 */
const stepsOfTurn = 200_000;

/** Tests one character of a path, at a cost of `steps` comparisons. Null stands for `*`: any number of characters. */
type Token = { readonly fits: (character: string) => boolean; readonly steps: number } | null;

/** One line of a .slugignore, or one text of `exclude` in project.toml. */
export interface Pattern {
  /** The patterns for the parts of a path. Null matches any number of folders. */
  readonly parts: readonly (readonly Token[] | null)[];
  readonly isFolderOnly: boolean;
}

/**
 * Reads patterns, one a line. Returns a warning for each line that is not used. If there are too many patterns, the
 * last warning stands for all lines after the last allowed pattern.
 *
 * @param file - Where the patterns are from, for the warnings.
 */
export function readPatterns(
  text: string,
  file = '.slugignore',
): { patterns: Pattern[]; warnings: string[] } {
  const patterns: Pattern[] = [];
  const warnings: string[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const slugignoreLine = `Line ${index + 1} of ${file}`;
    if (line.startsWith('!')) warnings.push(`${slugignoreLine} is not used: a line cannot begin with !.`);
    else if (line.length > MAX_PATTERN_LENGTH)
      warnings.push(`${slugignoreLine} is not used: it is longer than ${MAX_PATTERN_LENGTH} characters.`);
    else if (patterns.length === MAX_PATTERNS) {
      warnings.push(
        `${slugignoreLine} and all later lines are not used: at most ${MAX_PATTERNS} patterns are allowed.`,
      );
      break;
    } else patterns.push(patternOf(line));
  }
  return { patterns, warnings };
}

/** A pattern with a slash at its start or in the middle matches from the top. All others match at any depth. */
function patternOf(line: string): Pattern {
  const path = line.replace(/\/+$/, '');
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map((part) => (part === '**' ? null : tokens(part)));
  return { parts: path.includes('/') ? parts : [null, ...parts], isFolderOnly: line.endsWith('/') };
}

/** Splits a pattern into tokens: `*`, `?`, `[a-z]`, `\x` and plain characters. */
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

/**
 * Compiles a character set, such as `[a-z]`, once. If every comparison read a long set again, comparisons would be a
 * hundred times slower.
 */
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

/**
 * Compares paths with the patterns of one source. After `MAX_STEPS` comparisons in all, which only hostile patterns
 * need, throws an error.
 */
export class Matcher {
  #steps = 0;
  #turnAt = 0;

  /**
   * True if comparing has taken a few milliseconds since the last call that returned true. The caller should then let
   * the event loop serve other requests.
   */
  isDue(): boolean {
    if (this.#steps - this.#turnAt < stepsOfTurn) return false;
    this.#turnAt = this.#steps;
    return true;
  }

  /**
   * Whether a pattern matches the whole path. Each part of the path is given as its characters.
   *
   * @throws DeployError `BUILD_SLUGIGNORE` if all calls together need more than `MAX_STEPS` comparisons.
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
   * Whether `pattern` matches `items`, which are the parts of a path or the characters of a part. A null in `pattern`
   * matches any number of items. Backtracks only to the last null, so the cost is at most the product of both lengths.
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
    if (this.#steps <= MAX_STEPS) return;
    throw new DeployError(
      'BUILD_SLUGIGNORE',
      'matching the patterns of .slugignore, or of exclude in project.toml, against all files of the repository takes too long',
      'Use fewer patterns and fewer wildcards in each pattern, and push again.',
    );
  }
}
