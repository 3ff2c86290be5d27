import { parse } from 'yaml';

/** The lines of `key: value` at the top of a file, or, as the rest of a sentence, why there are none. */
export type ReadMapping =
  | { readonly mapping: Record<string, unknown> }
  | { readonly why: string; readonly cause: unknown };

/**
 * Reads YAML that a stranger wrote and that holds `key: value`; an empty text has no keys. The text must be small:
 * YAML made for it takes the parser a second for 64 kB, in which nobody else is served.
 */
export function parseMapping(text: string): ReadMapping {
  let content: unknown;
  try {
    // Few aliases: a short file must not unfold into gigabytes.
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

/** A stranger's value in a sentence. */
export function shown(value: unknown): string {
  const text = (typeof value === 'string' ? value : asJson(value)).replace(/[^\x20-\x7e]/g, '?');
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** YAML can make a value that holds itself. */
function asJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof TypeError) return 'what holds itself';
    throw error;
  }
}
