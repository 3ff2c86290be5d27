import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
} from 'yaml';

/** The content of a YAML text, or the reason, as the end of a sentence, why it has none. */
export type ParsedYaml =
  | {
      /** The content of the YAML text. An empty object if the text has no content. */
      readonly value: unknown;
      /** The line of each key and list item by its path, such as `components.web.run`. */
      readonly lines: ReadonlyMap<string, number>;
    }
  | { readonly why: string };

/** The lines of deeper keys are not noted, because no message names them. `components.web.run.cpu` has this depth. */
const MAX_DEPTH = 4;

/**
 * The largest size of a file after each alias is replaced by its content: the number of characters, and one more for
 * each key, value and list. A file without aliases is always smaller than this.
 */
const MAX_EXPANDED = 256 * 1024;

/** Reads YAML 1.1, as Toolforge does: `<<` merges mappings, and `yes` is true. */
export function parseYaml(text: string): ParsedYaml {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    version: '1.1',
    // Refuse keys that are lists or mappings. The parser would turn them into texts, which takes minutes for some files
    // of 500 bytes.
    stringKeys: true,
    lineCounter,
    prettyErrors: false,
    logLevel: 'error',
  });
  const lineOf = (offset: number) => lineCounter.linePos(offset).line;
  const [error] = document.errors;
  // The parser calls itself for each level of nesting. If V8's stack overflows, the parser reports this as an error of
  // the text.
  if (error?.message.includes('call stack')) {
    return { why: `cannot be read, because line ${lineOf(error.pos[0])} is nested too deeply` };
  }
  if (error?.code === 'NON_STRING_KEY')
    return { why: `is not valid here (line ${lineOf(error.pos[0])}: a key must be a text)` };
  if (error !== undefined)
    return { why: `is not valid YAML (line ${lineOf(error.pos[0])}: ${error.message})` };
  const lines = new Map<string, number>();
  const note = (node: unknown, path: readonly string[]): void => {
    if (path.length === MAX_DEPTH) return;
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        if (!isScalar(key)) continue;
        // `String` is needed because the parser gives the key of a merge, `<<`, as a symbol.
        const inner = [...path, String(key.value)];
        lines.set(inner.join('.'), lineOf(key.range?.[0] ?? 0));
        note(value, inner);
      }
    } else if (isSeq(node)) {
      for (const [index, item] of node.items.entries()) {
        const range = isMap(item) || isScalar(item) ? item.range : null;
        lines.set([...path, index].join('.'), lineOf(range?.[0] ?? 0));
        note(item, [...path, String(index)]);
      }
    }
  };
  note(document.contents, []);
  if (expandedSize(document) > MAX_EXPANDED)
    return { why: 'cannot be read, because it uses too many YAML aliases (*name)' };
  try {
    // Switch off the library's own limit for aliases. It does not count empty lists, and for some files it needs hours
    // to count the rest. `expandedSize` has already checked the size.
    return { value: document.toJS({ maxAliasCount: -1 }) ?? {}, lines };
  } catch (error) {
    // The library throws an Error for an alias without an anchor, and for `<<` with something else than mappings.
    if (error instanceof Error) return { why: `is not valid YAML (${error.message})` };
    throw error;
  }
}

/**
 * The size of a document after each alias is replaced by its content, counted as `MAX_EXPANDED` says. An alias within
 * its own anchor has no end, so its size is infinite.
 */
function expandedSize({ contents }: Document): number {
  const sizes = new Map<string, number>();
  const sizeOf = (node: unknown): number => {
    if (isAlias(node)) return sizes.get(node.source) ?? 1;
    const anchor = isNode(node) ? node.anchor : undefined;
    if (anchor !== undefined) sizes.set(anchor, Number.POSITIVE_INFINITY);
    let size = 1;
    if (isScalar(node)) size += String(node.value).length;
    else if (isPair(node)) size += sizeOf(node.key) + sizeOf(node.value);
    else if (isMap(node) || isSeq(node)) for (const item of node.items) size += sizeOf(item);
    if (anchor !== undefined) sizes.set(anchor, size);
    return size;
  };
  return sizeOf(contents);
}
