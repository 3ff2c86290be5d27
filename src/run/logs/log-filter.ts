import type { LogLine, LogQuery } from '../runtime.ts';

/** Returns a function that is true for log lines that meet all conditions of a query: its process, times and text. */
export function lineFilter({
  process,
  match,
}: Pick<LogQuery, 'process' | 'match'>): (line: LogLine) => boolean {
  const accepts = processFilter(process);
  if (match === undefined) return ({ process }) => accepts(process);
  const { since, until, text } = match;
  return (line) =>
    accepts(line.process) &&
    (since === null || line.at >= since) &&
    (until === null || line.at <= until) &&
    (text === null || line.text.includes(text));
}

/**
 * Returns a function that is true for names of processes, such as `web.1`, that are equal to `asked` or have it as
 * their type. If `asked` is null, it is true for all names.
 */
export function processFilter(asked: string | null): (process: string) => boolean {
  return (process) => asked === null || process === asked || process.startsWith(`${asked}.`);
}
