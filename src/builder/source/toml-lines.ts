import { stringify, TomlDate } from 'smol-toml';

/**
 * Returns the TOML lines `key = value` of a table. The tables and arrays in it are written inline, so the text is about
 * as long as the text that was parsed. smol-toml would write the path of keys again for each table in an array. A
 * hostile text of 63 kB would then become 330 MB long.
 *
 * @see https://toml.io/en/v1.0.0#inline-table
 */
export function tomlLines(table: Readonly<Record<string, unknown>>): string {
  return Object.entries(table)
    .map(([key, value]) => `${keyText(key)} = ${inline(value)}\n`)
    .join('');
}

function inline(value: unknown): string {
  // Write no spaces between the items. Otherwise the text could become longer than the largest text that can be parsed,
  // and the next build would refuse it.
  if (Array.isArray(value)) return `[${value.map(inline).join()}]`;
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value);
  // Write a JSON string, because this is faster than `stringify`. A JSON string is also a TOML string, unless it has
  // the control character DEL.
  if (typeof value === 'string' && !value.includes('\x7f')) return JSON.stringify(value);
  if (typeof value !== 'object' || value === null || value instanceof TomlDate)
    return stringify({ value }).slice('value = '.length).trimEnd();
  return `{${Object.entries(value).map(([key, inner]) => `${keyText(key)}=${inline(inner)}`)}}`;
}

function keyText(key: string): string {
  return /^[\w-]+$/.test(key) ? key : stringify({ [key]: 0 }).slice(0, -' = 0\n'.length);
}
