// Prints the sizes of src: files, folders, functions, and how much is documented. A person judges them.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

const source = join(import.meta.dirname, '../../src');
/** Folders with more files are printed, so that somebody looks at them. Plain collections may have more. */
const MAX_FILES = 14;
const MAX_FUNCTION_LINES = 40;
const MAX_FILE_LINES = 400;

const files = readdirSync(source, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => {
    const path = join(entry.parentPath, entry.name);
    return { path: relative(source, path), lines: readFileSync(path, 'utf8').trimEnd().split('\n') };
  });

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

function percent(part: number, whole: number): string {
  return `${Math.round((100 * part) / whole)} %`;
}

/** The lines of each function and method, found by their indentation, which the formatter guarantees. */
function functionLengths(lines: readonly string[]): number[] {
  return lines.flatMap((line, index) => {
    const indent = /^(\s*)(?:export )?(?:static )?(?:async )?(?:function\*? )?[#\w]+(?:<.*>)?\(/.exec(
      line,
    )?.[1];
    if (indent === undefined || /^\s*(?:if|for|while|switch|catch|return|await|throw)\b/.test(line))
      return [];
    const body = lines.findIndex((other, at) => at >= index && other.endsWith('{'));
    const end = lines.findIndex((other, at) => at > index && other === `${indent}}`);
    return body < 0 || end < body ? [] : [end - index + 1];
  });
}

function folderSizes(): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const { path } of files) sizes.set(dirname(path), (sizes.get(dirname(path)) ?? 0) + 1);
  return sizes;
}

function twins(): string[] {
  const names = new Map<string, number>();
  for (const { path } of files) names.set(basename(path), (names.get(basename(path)) ?? 0) + 1);
  return [...names].flatMap(([name, count]) => (count > 1 ? [name] : []));
}

const lengths = files.map(({ lines }) => lines.length);
const functions = files.flatMap(({ lines }) => functionLengths(lines));
const exported = files.flatMap(({ lines }) =>
  lines.flatMap((line, index) =>
    /^export (?:async )?(?:abstract )?(?:function|class|interface|type|const)\b/.test(line)
      ? [lines[index - 1]?.endsWith('*/') === true]
      : [],
  ),
);
const folders = folderSizes();
const large = [...folders].filter(([, count]) => count > MAX_FILES).sort(([, a], [, b]) => b - a);
const long = files.filter(({ lines }) => lines.length > MAX_FILE_LINES).map(({ path }) => path);

const rows: readonly (readonly [string, string])[] = [
  ['files', String(files.length)],
  ['thousand lines', (lengths.reduce((sum, length) => sum + length, 0) / 1000).toFixed(1)],
  ['median file', `${median(lengths)} lines`],
  ['longest file', `${Math.max(...lengths)} lines`],
  [
    `functions over ${MAX_FUNCTION_LINES} lines`,
    percent(functions.filter((length) => length > MAX_FUNCTION_LINES).length, functions.length),
  ],
  ['documented exports', percent(exported.filter(Boolean).length, exported.length)],
  ['files in a folder, mean', (files.length / folders.size).toFixed(1)],
  ['files in a folder, most', String(Math.max(...folders.values()))],
  ['names of two files', String(twins().length)],
];
for (const [name, value] of rows) process.stdout.write(`${name.padEnd(28)}${value}\n`);
for (const [folder, count] of large) process.stdout.write(`look at src/${folder}: ${count} files\n`);
for (const path of long) process.stdout.write(`look at src/${path}: over ${MAX_FILE_LINES} lines\n`);
for (const name of twins()) process.stdout.write(`look at ${name}: a name of two files\n`);
