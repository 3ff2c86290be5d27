import { clean, oneLine, paint, progressTo } from '../../core/progress.ts';
import { escapeControls } from '../../core/text/escape-controls.ts';

/** Makes a line of a tool's output safe for a terminal. Keeps its spaces, except those at the end. */
export function oneLineOfLog(text: string): string {
  return paint(clean(text), false).replaceAll('\n', ' ').trimEnd();
}

/** Formats rows as columns, two spaces apart. The first row has the headings. Ends in a newline. */
export function columns(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(oneLine));
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => width(row[column] ?? ''))),
  );
  const lines = cells.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join('');
}

/** The width of a line on a terminal, if each character has the same width. */
export function width(text: string): number {
  return [...text].length;
}

/** Formats a list as one JSON array, with a newline at the end. */
export function json(items: readonly object[]): string {
  return `${quoted(items)}\n`;
}

/** Formats one part of a long list as JSON without the brackets. `jsonOf` joins the parts to one array. */
export function jsonItems(items: readonly object[]): string {
  return quoted(items).slice('[\n'.length, -'\n]'.length);
}

/** Joins parts of a list that `jsonItems` has formatted to one JSON array, as `json` formats it. */
export function jsonOf(items: readonly string[]): string {
  return items.length === 0 ? json([]) : `[\n${items.join(',\n')}\n]\n`;
}

/** Formats a value as JSON that is harmless for a terminal. */
export function quoted(value: unknown): string {
  return escapeControls(JSON.stringify(value, null, 2));
}

/** Prefixes each line with ` !     `. */
export function warning(...lines: readonly string[]): string {
  let text = '';
  const progress = progressTo((part) => {
    text += part;
  });
  for (const line of lines) progress.warn(line);
  return text;
}

/** Formats a time for people: `3 min ago`. After 30 days, returns the date. */
export function ago(at: number, now: number): string {
  const seconds = Math.floor((now - at) / 1000);
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  if (days <= 30) return days === 1 ? '1 day ago' : `${days} days ago`;
  return new Date(at).toISOString().slice(0, 10);
}

/** Formats a time as ISO 8601, for JSON. Null stays null. */
export function iso(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
