import { normalise } from '../user-name.ts';

/** One `attribute=value` of a distinguished name; the attribute in lower case, the value unescaped. */
export interface NamePart {
  readonly attribute: string;
  readonly value: string;
}

/** A parsed distinguished name. */
export interface ReadDn {
  /**
   * The leftmost part of the name, such as `uid=alice`. Has several entries if several `attribute=value` are joined by
   * `+`.
   */
  readonly first: readonly NamePart[];
  /** A normal form: two distinguished names that LDAP treats as equal have the same key. */
  readonly key: string;
  /** The `key` of the name without its leftmost part. Empty if nothing is left. */
  readonly parentKey: string;
}

const ATTRIBUTE = /\s*([A-Za-z][-A-Za-z0-9]*|\d+(?:\.\d+)+)\s*=/y;
const VALUE = /(?:[^\\,+;"<>]|\\[ "#+,;<=>\\]|\\[0-9A-Fa-f]{2})*/y;
const ESCAPED = /(?:\\[0-9A-Fa-f]{2})+|\\./g;

/**
 * Reads a distinguished name. Returns null if the text is not one. Also returns null if a value is in hexadecimal or in
 * quotes, which this server does not support. A member of a tool with such a name does not count.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4514
 */
export function readDn(text: string): ReadDn | null {
  const names: NamePart[][] = [];
  let parts: NamePart[] = [];
  let at = 0;
  for (;;) {
    const [whole, attribute = ''] = matchAt(ATTRIBUTE, text, at) ?? [];
    if (whole === undefined) return null;
    const [raw = ''] = matchAt(VALUE, text, at + whole.length) ?? [];
    if (raw.trim() === '' || raw.trimStart().startsWith('#')) return null;
    parts.push({ attribute: attribute.toLowerCase(), value: raw.replace(ESCAPED, withoutEscape) });
    at += whole.length + raw.length;
    const separator = text[at];
    at += 1;
    if (separator === '+') continue;
    names.push(parts);
    parts = [];
    if (separator === undefined) break;
    if (separator !== ',') return null;
  }
  const keys = names.map(keyOf);
  return { first: names[0] ?? [], key: keys.join(','), parentKey: keys.slice(1).join(',') };
}

function matchAt(form: RegExp, text: string, at: number): RegExpExecArray | null {
  form.lastIndex = at;
  return form.exec(text);
}

function withoutEscape(escaped: string): string {
  return /^\\[0-9A-Fa-f]{2}/.test(escaped)
    ? Buffer.from(escaped.replaceAll('\\', ''), 'hex').toString('utf8')
    : escaped.slice(1);
}

// Returns a text that is the same for equal names. Like caseIgnoreMatch (RFC 4518), ignores case, outer space and
// repeated inner space. JSON quotes the value, so a comma inside it is not taken for a separator.
function keyOf(parts: readonly NamePart[]): string {
  const items = parts.map(
    ({ attribute, value }) => `${attribute}=${JSON.stringify(normalise(value).replace(/ +/g, ' '))}`,
  );
  return items.sort().join('+');
}
