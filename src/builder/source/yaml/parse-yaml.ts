import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';

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

/** Reads YAML 1.1, as Toolforge does: `<<` merges mappings, and `yes` is true. */
export function parseYaml(text: string): ParsedYaml {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    version: '1.1',
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
  try {
    // The limit for aliases keeps a short file from expanding to gigabytes.
    return { value: document.toJS({ maxAliasCount: 20 }) ?? {}, lines };
  } catch (cause) {
    if (cause instanceof ReferenceError)
      return { why: 'cannot be read, because it uses too many YAML aliases (*name)' };
    throw cause;
  }
}
