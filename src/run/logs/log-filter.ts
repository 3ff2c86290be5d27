import type { LogLine, LogQuery } from '../runtime.ts';

/** Returns a function that tells whether a query asks for a line. */
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

/** Returns a function that tells whether a process has the asked name or type. Null asks for all processes. */
export function processFilter(asked: string | null): (process: string) => boolean {
  return (process) => asked === null || process === asked || process.startsWith(`${asked}.`);
}
