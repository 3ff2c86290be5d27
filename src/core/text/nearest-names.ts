/** The names that somebody probably meant by `typed`, at most three. The nearest is the first. */
export function nearest(names: readonly string[], typed: string): string[] {
  return [...new Set(names)]
    .map((name) => ({ name, away: isBeginning(name, typed) ? 0 : distance(typed, name) }))
    .filter(({ name, away }) => away <= Math.min(2, Math.floor(name.length / 2)))
    .sort((one, other) => one.away - other.away)
    .slice(0, 3)
    .map(({ name }) => name);
}

function isBeginning(name: string, typed: string): boolean {
  return typed.length > 0 && (name.startsWith(typed) || typed.startsWith(`${name}s`));
}

/**
 * The Levenshtein distance of two words. If `from` has more than 40 characters, returns the length of `from` instead,
 * which is too large a distance for a match.
 */
function distance(from: string, to: string): number {
  if (from.length > 40) return from.length;
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1];
    for (let column = 1; column <= to.length; column++) {
      const change = (row[column - 1] ?? 0) + (letter === to[column - 1] ? 0 : 1);
      next.push(Math.min(change, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
