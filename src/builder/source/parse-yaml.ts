import { parse } from 'yaml';

/** The value of a YAML text; an empty object if it has none. @throws Error if it is not valid YAML. */
export function parseYaml(text: string): unknown {
  // The limit for aliases keeps a short file from expanding to gigabytes.
  return parse(text, { maxAliasCount: 20, logLevel: 'error' }) ?? {};
}
