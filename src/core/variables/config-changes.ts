import { DeployError } from '../errors.ts';
import { CONFIG_VAR_NAME, MAX_CONFIG_VARS, RESERVED_VARIABLE } from '../names.ts';

/** How many bytes the value of one config var may have. */
export const MAX_CONFIG_VAR_BYTES = 32 * 1024;
// The most bytes of the names and values of a tool's config vars together. Each release stores them twice, and a
// Kubernetes Secret holds at most 1 MiB.
const MAX_TOTAL_BYTES = 512 * 1024;
/**
 * The most bytes of a tool's config vars as JSON, the form in which they are stored. In JSON, a quote or newline takes
 * two bytes, so even `MAX_TOTAL_BYTES` of these fit. Most other control characters take six, so fewer of them fit. Many
 * commands read a release, and half a megabyte of such characters would block the server for six milliseconds each
 * time.
 */
const MAX_STORED_BYTES = 2 * MAX_TOTAL_BYTES + 16 * 1024;
const ELSEWHERE = 'Keep large data in the repository or in a database.';

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

/**
 * `changeInShort` names at most this many config vars that are set, and as many that are unset. A file for `config
 * import` may have hundreds.
 */
const MAX_NAMED = 10;

/** Says which config vars a request sets and unsets, for example `Set API_KEY, DEBUG; unset OLD`. Shows no values. */
export function changeInShort(changes: Readonly<Record<string, string | null>>): string {
  const [set, unset] = [[], []] as [string[], string[]];
  for (const [name, value] of Object.entries(changes)) (value === null ? unset : set).push(name);
  const short = (names: readonly string[]) => {
    const more = names.length - MAX_NAMED;
    return `${names.slice(0, MAX_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  };
  if (unset.length === 0) return `Set ${short(set)}`;
  return set.length === 0 ? `Unset ${short(unset)}` : `Set ${short(set)}; unset ${short(unset)}`;
}

/** Joins names into a list: `A`, `A and B`, `A, B and C`. */
function inWords(names: readonly string[]): string {
  const [last = '', ...before] = names.toReversed();
  return before.length === 0 ? last : `${before.toReversed().join(', ')} and ${last}`;
}

/**
 * Returns the tool's config vars after a change. The value null unsets a variable.
 *
 * @throws DeployError `BAD_CONFIG_VAR` if a name or value is not allowed, or if there are too many names or bytes. The
 * error never contains a value.
 */
export function changeConfigVars(
  current: Readonly<Record<string, string>>,
  changes: Readonly<Record<string, string | null>>,
): Record<string, string> {
  const vars = new Map(Object.entries(current));
  // Check the number of names before the loop, because a request can have hundreds of thousands of names.
  if (Object.values(changes).filter((value) => value !== null).length > MAX_CONFIG_VARS) throw tooMany();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) {
      vars.delete(name);
      continue;
    }
    check(name, value);
    vars.set(name, value);
  }
  if (vars.size > MAX_CONFIG_VARS) throw tooMany();
  const bytes = Buffer.byteLength([...vars].flat().join(''));
  if (bytes > MAX_TOTAL_BYTES) {
    throw bad(`the config vars together are longer than ${MAX_TOTAL_BYTES} bytes`, ELSEWHERE);
  }
  if (Buffer.byteLength(JSON.stringify([...vars])) > MAX_STORED_BYTES)
    throw bad(
      'the config vars have too many control characters',
      'Encode binary values, for instance as Base64.',
    );
  return Object.fromEntries([...vars].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function tooMany(): DeployError {
  return bad(`more than ${MAX_CONFIG_VARS} config vars`, 'Unset config vars that the tool does not use.');
}

function check(name: string, value: string): void {
  if (!CONFIG_VAR_NAME.test(name)) {
    throw bad(
      `${JSON.stringify(name.slice(0, 60))} is not a valid name for a config var`,
      'Use capital letters, digits and _, as in API_KEY.',
    );
  }
  if (RESERVED_VARIABLE.test(name)) throw bad(`${name} is reserved for the platform`, 'Choose another name.');
  if (!value.isWellFormed())
    throw bad(
      `the value of ${name} is not valid Unicode text`,
      'Encode binary values, for instance as Base64.',
    );
  if (value.includes('\0'))
    throw bad(`the value of ${name} holds a NUL byte`, 'Encode binary values, for instance as Base64.');
  if (Buffer.byteLength(value) > MAX_CONFIG_VAR_BYTES) {
    throw bad(`the value of ${name} is longer than ${MAX_CONFIG_VAR_BYTES} bytes`, ELSEWHERE);
  }
}

function bad(message: string, hint: string): DeployError {
  return new DeployError('BAD_CONFIG_VAR', message, hint);
}
