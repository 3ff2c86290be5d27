import { parse } from 'yaml';

/** The keys and values at the top level of a file. `why` continues a sentence that says why the file has none. */
export type ReadMapping =
  | { readonly mapping: Record<string, unknown> }
  | { readonly why: string; readonly cause: unknown };

/**
 * Reads a YAML mapping that an untrusted person wrote. An empty text has no keys. The text must be small: 64 kB of
 * hostile YAML keep the parser busy for a second, and nobody else is served meanwhile.
 */
export function parseMapping(text: string): ReadMapping {
  let content: unknown;
  try {
    // Few aliases, so that a short file cannot expand to gigabytes.
    content = parse(text, { maxAliasCount: 20, logLevel: 'error' }) ?? {};
  } catch (cause) {
    return { why: 'is not valid YAML', cause };
  }
  if (!isMapping(content)) return { why: 'does not hold lines of `key: value`', cause: null };
  return { mapping: content };
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An untrusted value, shortened for a sentence. */
export function shown(value: unknown): string {
  const text = (typeof value === 'string' ? value : asJson(value)).replace(/[^\x20-\x7e]/g, '?');
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** A YAML value can contain itself. */
function asJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof TypeError) return 'what holds itself';
    throw error;
  }
}
