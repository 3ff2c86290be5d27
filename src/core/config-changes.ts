/** The names of config vars that a change adds, gives another value, and removes. Each list is sorted. */
export interface ChangedNames {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

/** Compares config vars by name and value. The result has names, never values. */
export function changedNames(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): ChangedNames {
  const isBefore = (name: string) => Object.hasOwn(before, name);
  return {
    added: Object.keys(after)
      .filter((name) => !isBefore(name))
      .sort(),
    changed: Object.keys(after)
      .filter((name) => isBefore(name) && before[name] !== after[name])
      .sort(),
    removed: Object.keys(before)
      .filter((name) => !Object.hasOwn(after, name))
      .sort(),
  };
}

/** Lists the names for people: `GREETING and SECRET removed, API_KEY changed`. Null if nothing changes. */
export function changesInWords({ added, changed, removed }: ChangedNames): string | null {
  const parts = [
    { names: removed, what: 'removed' },
    { names: added, what: 'added' },
    { names: changed, what: 'changed' },
  ].flatMap(({ names, what }) => (names.length === 0 ? [] : [`${inWords(names)} ${what}`]));
  return parts.length === 0 ? null : parts.join(', ');
}

/** Joins names into a list: `A`, `A and B`, `A, B and C`. */
function inWords(names: readonly string[]): string {
  const [last = '', ...before] = names.toReversed();
  return before.length === 0 ? last : `${before.toReversed().join(', ')} and ${last}`;
}
